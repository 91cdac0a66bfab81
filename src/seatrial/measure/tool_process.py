"""An outside tool as a process: run to its end in a group of its own, its output in a log.

In: a command line, an environment over ours, a folder, a log. Out: nothing; what the tool wrote is its readers' matter.
Refuses (EngineError): a program that cannot be started, that ends with an error (its last lines are in the message) or
that takes too long. On every way out, a signal to us among them, the whole group is ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from seatrial.core.errors import EngineError

GRACE_S = 5.0
TAIL_BYTES, TAIL_CHARS = 4096, 300


def run_tool(
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    timeout_s: float,
    mend: str = "Check --tool-python.",
) -> None:
    """Run it. `name` is what it is called in messages, `mend` what helps where it cannot be started at all."""
    try:
        with log.open("wb") as stream:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                cwd=cwd,
                start_new_session=True,
            )
    except OSError as exc:
        raise EngineError(f"{argv[0]} cannot be started: {exc.strerror or exc}", mend=mend) from exc
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise EngineError(f"{name} did not end within {timeout_s:.0f} s", mend=f"Its log: {log}.") from exc
    finally:
        _end(process)
    if code:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise EngineError(f"{name} {how}: {_tail(log)}", mend=f"Its log: {log}.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group, if anything of it is left, and wait until nothing is."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            return


def _tail(log: Path) -> str:
    """The last two lines that say something."""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-2:])[:TAIL_CHARS] or "it said nothing"
