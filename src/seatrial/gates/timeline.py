"""The timelines of several starts as one, each start behind the one before."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.core.step import Span, StepResult


def spans_of(results: Mapping[str, StepResult]) -> tuple[Span, ...]:
    """`results` by the name of the start, in order; the pauses between starts are left out."""
    spans: list[Span] = []
    offset = 0.0
    for name, result in results.items():
        for span in result.timeline:
            start = offset + span.start_s
            spans.append(Span(name=f"{name}: {span.name}", start_s=start, duration_s=span.duration_s, whose=span.whose))
        offset += max((s.start_s + s.duration_s for s in result.timeline), default=0.0)
    return tuple(spans)
