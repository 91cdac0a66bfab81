"""D016: the dry run cannot follow this code."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule
from seatrial.dryrun.rules.limits import is_gap, is_limit


def find(account: DryAccount) -> Iterator[Finding]:
    for failure in account.failures:
        if is_limit(failure.raw) and not is_gap(failure.raw):
            place = f" at {failure.raw.at.one_line()}" if failure.raw.at else ""
            yield RULE.finding(
                failure.tensor or "load_weights", f"{' '.join(failure.raw.message.split())[:300]}{place}"
            )


RULE = Rule(
    code="D016",
    title="the dry run cannot follow this code",
    kind="unsure",
    meaning=(
        "The engine's code asks a tensor without data for its values. That is a limit of the dry run, "
        "not a fault of the model."
    ),
    mend="Load the real weights to know.",
    find=find,
)
