"""The contract of a rule: a stable code, a title, what it means and what to do, and how to find it in an account.

`kind` says what it does to the verdict: "fail", "unsure" (not a pass, but no proof of a fault) or "note" (none).
`find` is pure; it yields one finding per thing found and at most `MOST` of them, the last saying how many more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.raw import OpCall

MOST = 50
SEVERITIES = {"fail": Severity.ERROR, "unsure": Severity.WARNING, "note": Severity.INFO}


class Rule(Record):
    """`meaning` and `mend` go to the docs page."""

    code: str
    title: str
    kind: Literal["fail", "unsure", "note"]
    meaning: str
    mend: str
    find: Callable[[DryAccount], Iterable[Finding]]

    def finding(self, place: str, message: str, next_step: str = "") -> Finding:
        return Finding(
            code=self.code,
            severity=SEVERITIES[self.kind],
            place=place,
            message=message,
            next_step=next_step or self.mend,
        )


def limited(found: Iterable[Finding]) -> Iterator[Finding]:
    """The first MOST, then one line with the number left out; nothing is dropped unsaid."""
    stream = iter(found)
    shown = list(islice(stream, MOST))
    yield from shown
    rest = sum(1 for _ in stream)
    if rest:
        last = shown[-1]
        yield Finding(
            code=last.code,
            severity=last.severity,
            place=last.place,
            message=f"and {rest} more like this; the account lists them all",
            next_step=last.next_step,
        )


def call_text(call: OpCall) -> str:
    """Why it is missing and where it is called."""
    place = f" at {call.at.one_line()}" if call.at else ""
    asker = f", for {call.asker}" if call.asker else ""
    return f"{call.why}; called{place}{asker}"


def shape_text(shape: Iterable[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def some(names: Iterable[str], most: int = 4) -> str:
    """The first few names, and how many more."""
    listed = list(names)
    text = ", ".join(listed[:most])
    return f"{text} and {len(listed) - most} more" if len(listed) > most else text


def on_ranks(ranks: tuple[int, ...], world: int) -> str:
    if world == 1 or not ranks:
        return ""
    return f" (rank {', '.join(map(str, ranks))})"
