"""A finding: one thing noticed, where, how bad, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from seatrial.core.record import Record


class Severity(str, Enum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(Record):
    """One observation with a stable code.

    `place` is a file, `file: key`, tensor, parameter or log line; `next_step` is a command or an edit, empty for INFO.
    """

    code: str
    severity: Severity
    place: str
    message: str
    next_step: str = ""

    def one_line(self) -> str:
        return f"{self.code} {self.place}: {self.message}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those of severity ERROR, in their order."""
    return [f for f in findings if f.severity is Severity.ERROR]
