"""Whether fresh traces are a whole capture: each is read, and what speaks against it is said."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import SeatrialError
from seatrial.core.finding import Severity
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.records import Step
from seatrial.measure.profile.steps import find_steps


def faults(paths: list[Path]) -> list[str]:
    """Reasons why the capture does not count; empty if it does. An API server's own trace has no steps."""
    reasons: list[str] = []
    steps: list[Step] = []
    for path in paths:
        try:
            traces = open_traces([path], use_cache=False)
        except SeatrialError as exc:
            reasons.append(exc.one_line())
            continue
        for trace in traces:
            reasons += [f.one_line() for f in trace.findings if f.severity is not Severity.INFO]
            steps += find_steps(trace.events).steps
    if not steps and not reasons:
        reasons.append("no engine step is in any of the traces")
    return reasons
