"""docs/dry-findings.md: every finding of the dry run, from the rules themselves."""

from __future__ import annotations

from seatrial.dryrun import page as rules_page

PAGE = "dry-findings.md"


def page() -> str:
    return rules_page()
