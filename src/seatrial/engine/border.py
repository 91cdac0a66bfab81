"""The border: run a probe in the engine's own interpreter and bring back its JSON answer, whatever happens there.

In: an interpreter, a probe's name, a request of plain data. Out: a `ProbeReply`; a crash, a signal, a raised exception
or a time-out is a reply too. Refuses (EngineError): an interpreter that cannot be started at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from seatrial.core.errors import EngineError
from seatrial.core.record import Record, from_plain, to_plain

PROBES = Path(__file__).parent / "probes"
R = TypeVar("R", bound=Record)


class ProbeError(Record):
    """An exception raised in the probe: dotted type, message, full traceback text."""

    type: str
    message: str
    traceback: str


class ProbeReply(Record):
    """What became of one probe call.

    `answered`: `answer` holds the probe's plain data. `raised`: `error` holds the exception. `crashed`: the
    interpreter ended; `exit_code` is its code, negative for a signal. `timed-out`: it was stopped after `duration_s`.
    """

    probe: str
    status: Literal["answered", "raised", "crashed", "timed-out"]
    duration_s: float
    log: str
    answer: Any = None
    error: ProbeError | None = None
    exit_code: int | None = None

    def trouble(self) -> str:
        """One line saying why there is no answer (empty if there is one)."""
        if self.status == "raised" and self.error is not None:
            kind = self.error.type.removeprefix("builtins.")
            return f"{kind}: {' '.join(self.error.message.split())}"
        if self.status == "crashed" and self.exit_code is not None:
            return f"the engine's interpreter ended in probe {self.probe!r} {describe_exit(self.exit_code)}"
        if self.status == "timed-out":
            return f"probe {self.probe!r} gave no answer within {self.duration_s:.0f} s"
        return ""

    def decode(self, kind: type[R]) -> R:
        """The answer as a record; raises FileFormatError if the probe answered something else."""
        return from_plain(kind, self.answer, where=f"answer of probe {self.probe!r}")


def describe_exit(code: int) -> str:
    """`with exit code 3` or `by signal 11 (SIGSEGV)`."""
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"by signal {-code} ({signal.Signals(-code).name})"
    return f"by signal {-code}"


class ProbeSession:
    """One process of the engine's interpreter that answers several probes, so that the engine is imported once.

    Started at the first call, and again at the call after a crash or time-out. Everything the process prints goes to
    `log` (appended). Use as a context manager: leaving it ends the process and its whole group.
    """

    def __init__(
        self, python: Path, *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.python = python
        self.log = log
        self._env = dict(env or {})
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._channel = -1
        self._pending = b""
        self._folder = tempfile.TemporaryDirectory(prefix="seatrial-probe-")
        self._calls = 0

    def __enter__(self) -> ProbeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        probe: str,
        request: Any,
        *,
        timeout_s: float = 300.0,
        progress: Callable[[str], None] | None = None,
    ) -> ProbeReply:
        """Run `probes/<probe>.py` with `request` (a record or plain data)."""
        source = PROBES / f"{probe}.py"
        if not source.is_file():
            raise ValueError(f"there is no probe {probe!r}")
        self._start()
        self._calls += 1
        answer_file = Path(self._folder.name) / f"{self._calls}.json"
        order = {"probe": str(source), "request": to_plain(request), "answer": str(answer_file)}
        began = time.monotonic()
        try:
            ended = self._exchange(order, began + timeout_s, progress)
        except BaseException:
            self._kill()
            raise
        took = time.monotonic() - began
        if ended == "done":
            reply = self._read(probe, answer_file, took)
        elif ended == "timed-out":
            self._kill()
            reply = ProbeReply(probe=probe, status="timed-out", duration_s=took, log=str(self.log))
        else:
            code = self._kill()
            reply = ProbeReply(probe=probe, status="crashed", duration_s=took, log=str(self.log), exit_code=code)
        return reply

    def rest(self) -> None:
        """End the process and free its memory, politely by closing its input, then by its group; a call restarts it."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                assert_stdin(self._process).close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._kill()

    def close(self) -> None:
        """As `rest`, and no call may follow."""
        self.rest()
        self._folder.cleanup()

    def _start(self) -> None:
        if self._process is not None:
            return
        receive, send = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self.python), str(PROBES / "_harness.py"), str(send)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(send,),
                    env={**os.environ, **self._env},
                    cwd=self._cwd,
                    start_new_session=True,
                )
        except OSError as exc:
            os.close(receive)
            raise EngineError(
                f"the engine's interpreter {self.python} cannot be started: {exc.strerror or exc}",
                mend="Name an existing Python in the target's engine.interpreter, or run `seatrial engine install`.",
            ) from exc
        finally:
            os.close(send)
        self._channel = receive
        self._pending = b""

    def _exchange(
        self, order: dict[str, Any], deadline: float, progress: Callable[[str], None] | None
    ) -> Literal["done", "crashed", "timed-out"]:
        process = self._process
        if process is None:  # pragma: no cover - _start has just set it
            raise RuntimeError("no process")
        try:
            stdin = assert_stdin(process)
            stdin.write(json.dumps(order).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            return "crashed"
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timed-out"
                # A forked child of the engine may hold the channel open after its parent's death: look at both.
                if not selector.select(min(left, 0.5)):
                    if process.poll() is not None:
                        return "crashed"
                    continue
                data = os.read(self._channel, 65536)
                if not data:
                    return "crashed"
                if self._news(data, str(order["answer"]), progress):
                    return "done"

    def _news(self, data: bytes, answer: str, progress: Callable[[str], None] | None) -> bool:
        *lines, self._pending = (self._pending + data).split(b"\n")
        done = False
        for line in lines:
            message = json.loads(line)
            if "progress" in message and progress is not None:
                progress(message["progress"])
            done = done or message.get("done") == answer
        return done

    def _read(self, probe: str, answer_file: Path, took: float) -> ProbeReply:
        try:
            document = json.loads(answer_file.read_bytes())
        except (OSError, ValueError) as exc:
            raise EngineError(f"probe {probe!r} left no readable answer: {exc}", mend=f"See {self.log}.") from exc
        finally:
            answer_file.unlink(missing_ok=True)
        if document.get("ok"):
            return ProbeReply(
                probe=probe, status="answered", duration_s=took, log=str(self.log), answer=document["answer"]
            )
        error = from_plain(ProbeError, document["error"], where=f"error of probe {probe!r}")
        return ProbeReply(probe=probe, status="raised", duration_s=took, log=str(self.log), error=error)

    def _kill(self) -> int | None:
        """Stop the process and its group; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        # Its own death, if it came first, is the code we want; a moment suffices for the kernel to reap it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5 if process.poll() is None else 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            assert_stdin(process).close()
        os.close(self._channel)
        return process.wait()


def assert_stdin(process: subprocess.Popen[bytes]) -> Any:
    """The standard input of a process that was started with a pipe there."""
    if process.stdin is None:  # pragma: no cover
        raise RuntimeError("the process has no standard input")
    return process.stdin
