"""Which steps of a run are advice: an estimate, which neither stops a run nor decides its verdict; and that verdict."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.core.verdict import Verdict, combine
from seatrial.evidence.run import StoredStep

# The plan, and its check against what the engine said. What serves is proven by requests, whatever was predicted.
ADVICE = ("plan", "plan-check")


def deciding(steps: Mapping[str, StoredStep]) -> dict[str, StoredStep]:
    """The steps that decide a run's verdict, in their order."""
    return {name: stored for name, stored in steps.items() if name not in ADVICE}


def verdict_of(steps: Mapping[str, StoredStep]) -> Verdict:
    """What the run comes to."""
    return combine(stored.outcome.verdict for stored in deciding(steps).values())
