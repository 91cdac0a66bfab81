"""Whether fresh traces are a whole capture: each is read, and what speaks against it is said."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import SeatrialError
from seatrial.core.finding import Severity
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.steps import find_steps


def faults(paths: list[Path]) -> list[str]:
    """Reasons why the capture does not count; empty if it does. An API server's own trace has no steps."""
    try:
        traces = open_traces(paths, use_cache=False)
    except SeatrialError as exc:
        return [exc.one_line()]
    reasons = [f.one_line() for t in traces for f in t.findings if f.severity is not Severity.INFO]
    steps = [step for t in traces for step in find_steps(t.events).steps]
    if not steps and not reasons:
        reasons.append("no engine step is in any of the traces")
    return reasons
