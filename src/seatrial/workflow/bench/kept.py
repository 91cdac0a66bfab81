"""What a kept bench holds: its measured runs, its comparison, its commands, read back from the records."""

from __future__ import annotations

from seatrial.core.command import Command
from seatrial.core.record import from_plain
from seatrial.evidence import Run
from seatrial.measure.compare import BenchRun, Judged

VERDICT = "verdict"
MEASURED = "bench-"
ACCURACY = "accuracy-"


def bench_runs(run: Run) -> list[BenchRun]:
    """The measured runs kept in a run, in their order. Raises WorkspaceError where they are not what was recorded."""
    found = []
    for stored in run.sound().steps().values():
        if stored.step.startswith(MEASURED):
            found.append(from_plain(BenchRun, run.facts_of(stored), where=f"{run.run_id} {stored.step}"))
    return found


def judged_of(run: Run) -> Judged | None:
    """The comparison kept in a run; None if it has none."""
    stored = run.sound().steps().get(VERDICT)
    if stored is None:
        return None
    return from_plain(Judged, run.facts_of(stored), where=f"{run.run_id} {VERDICT}")


def commands_of(run: Run) -> list[Command]:
    """Every command a kept bench was made of, without repeats."""
    found: dict[str, Command] = {}
    for stored in run.steps().values():
        for command in stored.commands:
            found.setdefault(command.shell(), command)
    return list(found.values())
