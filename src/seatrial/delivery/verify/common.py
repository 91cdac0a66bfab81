"""What the rules share: a finding against the evidence, and JSON that may be none."""

from __future__ import annotations

import json
from typing import Any

from seatrial.core.finding import Finding, Severity


def error(code: str, place: str, message: str) -> Finding:
    why = "Do not accept this evidence; ask for the run's folder again."
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=why)


def note(place: str, message: str) -> Finding:
    """What could not be derived again."""
    return Finding(code="Y290", severity=Severity.INFO, place=place, message=message, next_step="")


def loaded(text: str) -> Any:
    """The JSON value; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
