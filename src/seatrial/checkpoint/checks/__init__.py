"""What the tensors say against what the config says. One check is one file with `check(facts)`; this lists them.

A new check: a file here, its codes in `codes.py`, a failing and a passing case in `tests/checkpoint/test_checks.py`.
"""

from __future__ import annotations

from seatrial.checkpoint.checks import completeness, embeddings, numbering, quantization, scales, shapes
from seatrial.checkpoint.checks.facts import Facts
from seatrial.core.finding import Finding

PRESENT = (shapes.check, quantization.check)
# These report what is absent: after an unreadable or missing shard that would be no news.
ABSENT = (numbering.check, completeness.check, embeddings.check, scales.check)


def run(facts: Facts) -> list[Finding]:
    """All checks that make sense; nothing where not even names are known."""
    checks = (*PRESENT, *ABSENT) if facts.whole else PRESENT
    return [finding for check in checks for finding in check(facts)] if facts.known != "none" else []


__all__ = ["Facts", "run"]
