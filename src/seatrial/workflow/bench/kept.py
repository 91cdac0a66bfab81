"""What a kept bench holds: its measured runs, its comparison, its commands, read back from the records."""

from __future__ import annotations

import msgspec

from seatrial.core.command import Command
from seatrial.core.record import from_plain
from seatrial.evidence import Run
from seatrial.measure.compare import BenchRun, Judged

VERDICT = "verdict"
MEASURED = "bench-"
ACCURACY = "accuracy-"


def bench_runs(run: Run) -> list[BenchRun]:
    """The measured runs kept in a run, in their order."""
    found = []
    for stored in run.steps().values():
        if stored.step.startswith(MEASURED):
            data = msgspec.json.decode(run.artifact(stored.facts).read_bytes())
            found.append(from_plain(BenchRun, data, where=f"{run.run_id} {stored.step}"))
    return found


def judged_of(run: Run) -> Judged | None:
    """The comparison kept in a run; None if it has none."""
    stored = run.steps().get(VERDICT)
    if stored is None:
        return None
    data = msgspec.json.decode(run.artifact(stored.facts).read_bytes())
    return from_plain(Judged, data, where=f"{run.run_id} {VERDICT}")


def commands_of(run: Run) -> list[Command]:
    """Every command a kept bench was made of, without repeats."""
    found: dict[str, Command] = {}
    for stored in run.steps().values():
        for command in stored.commands:
            found.setdefault(command.shell(), command)
    return list(found.values())
