"""Several starts as one step: their timelines behind one another, summed up by what they are, and their commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seatrial.core.command import Command
from seatrial.core.record import replace
from seatrial.core.step import Span, StepResult

OWN = "seatrial's own work, in all"


def spans_of(results: Mapping[str, StepResult]) -> tuple[Span, ...]:
    """`results` by the name of the start, in order; the pauses between starts are left out. No second is lost: what was
    the engine's and what was seatrial's adds up to the same as in the single timelines.
    """
    spans: list[Span] = []
    offset = 0.0
    for name, result in results.items():
        for kind in ("start-up", "requests", "shutdown", OWN):
            part = [s for s in result.timeline if _kind(s) == kind]
            if part:
                spans.append(_sum(f"{name}: {kind}", part, offset))
        offset += max((s.start_s + s.duration_s for s in result.timeline), default=0.0)
    return tuple(spans)


def commands_of(results: Mapping[str, StepResult]) -> tuple[Command, ...]:
    """The command of each start, its purpose with the start's name before it."""
    first = {name: result.commands[0] for name, result in results.items() if result.commands}
    return tuple(replace(command, purpose=f"{name}: {command.purpose}") for name, command in first.items())


def _kind(span: Span) -> str:
    if span.whose == "seatrial":
        return OWN
    return span.name if span.name in ("start-up", "shutdown") else "requests"


def _sum(name: str, part: Sequence[Span], offset: float) -> Span:
    start = offset + min(s.start_s for s in part)
    return Span(name=name, start_s=start, duration_s=sum(s.duration_s for s in part), whose=part[0].whose)
