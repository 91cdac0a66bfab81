"""One line of a feature plan."""

from __future__ import annotations

from typing import Literal

from seatrial.core.record import Record

Expectation = Literal["expected", "not-expected", "not-applicable", "checkpoint-missing", "unknown"]


class Feature(Record):
    """One feature of the plan and why it is expected or not; for not-applicable the reason names the config field."""

    name: str
    expectation: Expectation
    reason: str
