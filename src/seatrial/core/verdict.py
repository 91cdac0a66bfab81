"""Verdicts of checks, and how several become one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from seatrial.core.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from seatrial.core.record import Record


class Verdict(str, Enum):
    """What a check says. Only PASS passes."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not-applicable"


class Outcome(Record):
    """A verdict with its reason; the reason may be empty only for a pass."""

    verdict: Verdict
    reason: str = ""

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.PASS and not self.reason:
            raise ValueError(f"a verdict of {self.verdict.value} needs a reason")


def passed(reason: str = "") -> Outcome:
    return Outcome(verdict=Verdict.PASS, reason=reason)


def failed(reason: str) -> Outcome:
    return Outcome(verdict=Verdict.FAIL, reason=reason)


def inconclusive(reason: str) -> Outcome:
    return Outcome(verdict=Verdict.INCONCLUSIVE, reason=reason)


def not_applicable(reason: str) -> Outcome:
    return Outcome(verdict=Verdict.NOT_APPLICABLE, reason=reason)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of several: fail, then inconclusive, then pass; all not-applicable (or none at all) is no proof."""
    seen = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in seen:
            return verdict
    return Verdict.NOT_APPLICABLE if seen else Verdict.INCONCLUSIVE


def exit_code(verdict: Verdict) -> int:
    """The process exit code for a command whose overall verdict this is."""
    return {Verdict.PASS: EXIT_PASS, Verdict.FAIL: EXIT_FAIL}.get(verdict, EXIT_INCONCLUSIVE)
