"""A server process under a keeper: start, watch, stop, and prove that nothing is left.

In: an exact command. Out: events (`exit_code`), then a `Departure`. Refuses (EngineError): a command that cannot be
started. Leaving the context stops the server on every way out; if seatrial itself is killed, the keeper does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from seatrial.core.errors import EngineError
from seatrial.core.record import Record

KEEPER = Path(__file__).parent / "keeper.py"
# Set in the server's environment, so that its processes can be found again if even the keeper is killed.
TOKEN = "SEATRIAL_SERVER_TOKEN"  # noqa: S105 - the name of a variable
EXTRA_S = 40.0  # on top of the grace: the keeper's sweep, its kill and its own end


class Departure(Record):
    """How a server ended. `exit_code` is negative for a signal, None if nobody saw it.

    `asked`: it still ran when we stopped it. `killed`: processes that needed SIGKILL. `left`: pids no signal ended.
    `keeper_lost`: the keeper died before it could vouch for the end; the processes were then found by their token.
    """

    exit_code: int | None
    asked: bool
    killed: int
    left: tuple[int, ...]
    took_s: float
    keeper_lost: bool = False


class Server:
    """One server process; see the module's text. `folder` (existing) receives `log` and the keeper's own files."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, log: Path, folder: Path, grace_s: float
    ) -> None:
        self.argv = tuple(argv)
        self.log = log
        self.folder = folder
        self.grace_s = grace_s
        self.token = uuid.uuid4().hex
        self.pid = 0
        self.started_at = 0.0
        self.exit_code: int | None = None
        self.exited_at: float | None = None
        self._env = {**env, TOKEN: self.token}
        self._cwd = cwd
        self._keeper: subprocess.Popen[bytes] | None = None
        self._control = -1
        self._report = -1
        self._pending = b""
        self._failure: str | None = None
        self._end: dict[str, Any] | None = None
        self._lost = False
        self._detached = False
        self._reading = threading.Lock()

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.abandon()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self._detached:
            self.stop(self.grace_s)

    @property
    def keeper_pid(self) -> int:
        return self._keeper.pid if self._keeper is not None else 0

    @property
    def running(self) -> bool:
        """Has nobody seen the server's main process end yet?"""
        return self.exit_code is None and self._end is None and not self._lost and self._keeper is not None

    def start(self) -> None:
        """Start keeper and server; raises EngineError if the command cannot be executed."""
        theirs_in, self._control = os.pipe()
        self._report, theirs_out = os.pipe()
        os.set_blocking(self._report, False)
        try:
            with (self.folder / "keeper.log").open("ab") as own_log:
                self._keeper = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(KEEPER), str(theirs_in), str(theirs_out)],
                    stdin=subprocess.DEVNULL,
                    stdout=own_log,
                    stderr=own_log,
                    pass_fds=(theirs_in, theirs_out),
                    start_new_session=True,
                )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        order = {
            "argv": self.argv,
            "env": self._env,
            "cwd": str(self._cwd or ""),
            "log": str(self.log),
            "events": str(self.folder / "keeper.jsonl"),
            "grace_s": self.grace_s,
        }
        self._send(json.dumps(order).encode() + b"\n")
        deadline = time.monotonic() + 30
        while not (self.pid or self._failure or self._lost) and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())
        if not self.pid:
            why = self._failure or f"the keeper did not start it; see {self.folder / 'keeper.log'}"
            raise EngineError(f"the server cannot be started: {why}", mend=f"The command was: {self.argv[0]} …")

    def wait(self, timeout_s: float) -> None:
        """Sleep until the keeper reports something, at most `timeout_s` seconds."""
        handle = self._report
        if handle < 0:
            return
        try:
            ready, _, _ = select.select([handle], [], [], max(0.0, timeout_s))
        except OSError:
            if self._report == handle:
                raise
            return  # another thread saw the keeper's end and closed it
        # Requests in threads ask too whether the server lives; one of them reads, the others find nothing.
        with self._reading:
            if not ready or self._report < 0:
                return
            try:
                data = os.read(self._report, 65536)
            except BlockingIOError:
                return
            if not data:
                self._lost = self._end is None and self._failure is None
                # Forgotten before it is closed: a thread that finds it closed must find it gone.
                closed, self._report = self._report, -1
                os.close(closed)
                return
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._note(json.loads(line))

    def pids(self) -> list[int]:
        """The server's living processes, its main one first."""
        if self._keeper is None:
            return []
        try:
            found = [p.pid for p in psutil.Process(self._keeper.pid).children(recursive=True)]
        except psutil.Error:
            return []
        return sorted(found, key=lambda pid: (pid != self.pid, pid))

    def detach(self) -> None:
        """Let the server live on after us; the keeper's pid is then the handle by which it is stopped."""
        self._send(b"stay\n")
        self._detached = True
        self._release()

    def stop(self, grace_s: float) -> Departure:
        """Stop the server and all it started; safe to call again. A signal here leaves the rest to the keeper."""
        if self._detached:
            raise RuntimeError("a detached server is stopped by its keeper's pid")
        began = time.monotonic()
        try:
            self._send(f"stop {grace_s}\n".encode())
            deadline = began + grace_s + EXTRA_S
            while self._report >= 0 and self._end is None and time.monotonic() < deadline:
                self.wait(deadline - time.monotonic())
            if self._keeper is not None:
                self._release()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._keeper.wait(5)
        except BaseException:
            self.abandon()
            raise
        end = self._end or {}
        lost = self._end is None and self._failure is None
        left = tuple(end.get("pids", ())) or (sweep(self.token) if lost else ())
        return Departure(
            exit_code=self.exit_code,
            asked=bool(end.get("asked")),
            killed=int(end.get("killed", 0)),
            left=left,
            took_s=time.monotonic() - began,
            keeper_lost=lost,
        )

    def abandon(self) -> None:
        """No grace: the keeper kills everything at once; it gets a moment for that, and goes on without us after it."""
        self._send(b"stop 0\n")
        self._release()
        if self._keeper is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(2)

    def _note(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self.pid, self.started_at = event["pid"], event["t"]
        elif kind == "failed":
            self._failure = event["error"]
        elif kind == "exited":
            self.exit_code, self.exited_at = event["code"], event["t"]
        elif kind in ("gone", "stuck"):
            self._end = event

    def _send(self, data: bytes) -> None:
        while data and self._control >= 0:
            try:
                data = data[os.write(self._control, data) :]
            except OSError:  # the keeper has ended; its last report says how
                return

    def _release(self) -> None:
        for name in ("_control", "_report"):
            handle = getattr(self, name)
            setattr(self, name, -1)
            if handle >= 0:
                os.close(handle)


def sweep(token: str) -> tuple[int, ...]:
    """Kill every process that carries the token; the pids that are still there afterwards."""
    found = with_token(token)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _, alive = psutil.wait_procs(found, timeout=5)
    return tuple(p.pid for p in alive)


def with_token(token: str) -> list[psutil.Process]:
    """Processes of ours whose environment carries this start token."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(TOKEN) == token:
                found.append(process)
    return found
