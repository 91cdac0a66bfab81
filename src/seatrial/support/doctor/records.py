"""The records of the doctor, and how a check's verdict follows from what it found."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from seatrial.core.finding import Finding, Severity, errors
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, combine, failed, inconclusive, not_applicable, passed

SCHEMA_VERSION = 1


class Check(Record):
    """One subject looked at. `seen` is one line of what was found; `findings` say what is wrong and how to mend it."""

    name: str
    outcome: Outcome
    seen: str
    findings: tuple[Finding, ...] = ()


class DoctorReport(Record):
    """`stack` is the version tuple: component to version, or "unknown: why" where it could not be read."""

    schema_version: int
    target: str
    platform: str
    outcome: Outcome
    stack: dict[str, str]
    checks: tuple[Check, ...] = msgspec.field(default_factory=tuple)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(f for check in self.checks for f in check.findings)


def checked(name: str, seen: str, findings: Iterable[Finding] = ()) -> Check:
    """A check that could look: it fails on a finding of severity ERROR, else it passes."""
    found = tuple(findings)
    worst = errors(found)
    return Check(name=name, outcome=failed(worst[0].message) if worst else passed(), seen=seen, findings=found)


def could_not_look(name: str, why: str, findings: Iterable[Finding] = ()) -> Check:
    """A check without an answer: inconclusive, and failed if something else it found is an error."""
    found = tuple(findings)
    worst = errors(found)
    outcome = failed(worst[0].message) if worst else inconclusive(why)
    return Check(name=name, outcome=outcome, seen=f"unknown: {why}", findings=found)


def does_not_apply(name: str, why: str) -> Check:
    return Check(name=name, outcome=not_applicable(why), seen=why)


def overall(checks: Iterable[Check]) -> Outcome:
    """The worst of all, named."""
    all_checks = list(checks)
    verdict = combine(c.outcome.verdict for c in all_checks)
    names = [c.name for c in all_checks if c.outcome.verdict is verdict]
    return Outcome(verdict=verdict, reason="" if verdict.value == "pass" else f"{', '.join(names)}")


def finding(code: str, severity: Severity, place: str, message: str, mend: str) -> Finding:
    return Finding(code=code, severity=severity, place=place, message=message, next_step=mend)
