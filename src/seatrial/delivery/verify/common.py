"""What the rules share: a finding against the evidence, and JSON that may be none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from seatrial.core.finding import Finding, Severity

CLOSE = 1e-9  # sums of floats in another order


def error(code: str, place: str, message: str) -> Finding:
    why = "Do not accept this evidence; ask for the run's folder again."
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=why)


def note(place: str, message: str) -> Finding:
    """What could not be derived again."""
    return Finding(code="Y290", severity=Severity.INFO, place=place, message=message, next_step="")


def absent(place: str, message: str) -> Finding:
    """A run is not there that this one rests on: what it says of it was only hash-checked."""
    return Finding(
        code="Y291", severity=Severity.WARNING, place=place, message=message, next_step="Verify both together."
    )


def loaded(text: str) -> Any:
    """The JSON value; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def differing(said: Any, again: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(place, recorded, derived) of each leaf of plain data that differs; numbers may differ by rounding."""
    if isinstance(said, dict) and isinstance(again, dict):
        for key in sorted({*said, *again}):
            inner = f"{place}.{key}" if place else str(key)
            yield from differing(said.get(key), again.get(key), inner)
        return
    if isinstance(said, (list, tuple)) and isinstance(again, (list, tuple)) and len(said) == len(again):
        for number, (one, two) in enumerate(zip(said, again, strict=True)):
            yield from differing(one, two, f"{place}[{number}]")
        return
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (said, again))
    same = math.isclose(said, again, rel_tol=CLOSE, abs_tol=1e-12) if numbers else said == again
    if not same:
        yield place, _short(said), _short(again)


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else text[:119] + "…"
