"""docs/triage-signatures.md: every signature with its cases."""

from __future__ import annotations

from seatrial.triage.page import render

PAGE = "triage-signatures.md"


def page() -> str:
    return render()
