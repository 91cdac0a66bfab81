"""How to attach msprof to a running service on Ascend: the preconditions seen from here, and the exact commands.

Nothing is started: attaching needs an interactive msprof session. What is checked is what makes a capture worthless
without a word: a process started without PROFILING_MODE=dynamic, a device worker in place of its parent, no msprof.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, inconclusive, passed

MODE = "PROFILING_MODE"


class Precondition(Record):
    """`met` is None if it could not be looked at; `why` says so."""

    name: str
    met: bool | None
    why: str


class AttachPlan(Record):
    """The plan passes only if every precondition is met. `session` are the words typed into the attached msprof."""

    pid: int
    outcome: Outcome
    preconditions: tuple[Precondition, ...]
    commands: tuple[Command, ...]
    session: tuple[str, ...]
    schema_version: int = 1


def attach_plan(pid: int, output: Path) -> AttachPlan:
    """Raises UsageError if there is no such process."""
    try:
        process = psutil.Process(pid)
        name = process.name()
    except psutil.Error as exc:
        raise UsageError(f"no process {pid}: {exc}", mend="Give the pid of the service's parent process.") from exc
    checks = (_mode(process), _parent(process, name), _tool())
    missing = [f"{c.name}: {c.why}" for c in checks if c.met is not True]
    return AttachPlan(
        pid=pid,
        outcome=inconclusive("; ".join(missing)) if missing else passed(),
        preconditions=checks,
        commands=(
            Command(
                purpose="attach; it prints a prompt",
                argv=(
                    "msprof",
                    "--dynamic=on",
                    f"--output={output}",
                    "--model-execution=on",
                    "--runtime-api=on",
                    "--aicpu=on",
                    f"--pid={pid}",
                ),
            ),
            Command(purpose="export the newest capture", argv=("msprof", "--export=on", f"--output={output}/PROF_...")),
            Command(purpose="read it", argv=("seatrial", "profile", "read", str(output))),
        ),
        session=("(send the warm-up requests now)", "start", "(send the requests to be profiled)", "stop", "quit"),
    )


def _mode(process: psutil.Process) -> Precondition:
    try:
        value = process.environ().get(MODE, "")
    except (psutil.Error, OSError) as exc:
        return Precondition(name=MODE, met=None, why=f"the environment of the process cannot be read ({exc})")
    if value == "dynamic":
        return Precondition(name=MODE, met=True, why="dynamic")
    return Precondition(name=MODE, met=False, why=f"the service has {value!r}; restart it with {MODE}=dynamic")


def _parent(process: psutil.Process, name: str) -> Precondition:
    """A device worker is a child of a process of the same program."""
    label = "parent process"
    try:
        above = process.parent()
        same = above is not None and above.exe() == process.exe() and above.name() == name
    except (psutil.Error, OSError) as exc:
        return Precondition(name=label, met=None, why=f"the parent cannot be looked at ({exc})")
    if same and above is not None:
        return Precondition(name=label, met=False, why=f"{process.pid} is a worker of {above.pid}; attach to that one")
    return Precondition(name=label, met=True, why="no parent of the same program")


def _tool() -> Precondition:
    found = shutil.which("msprof")
    why = found or "msprof is not on the PATH; source the CANN toolkit's set_env.sh"
    return Precondition(name="msprof", met=found is not None, why=why)
