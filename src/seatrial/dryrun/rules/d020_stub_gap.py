"""D020: a stub lacks an attribute."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    told: set[str] = set()
    for failure in account.failures:
        raw = failure.raw
        if raw.stub and raw.stub not in told:
            told.add(raw.stub)
            place = f", asked for at {raw.at.one_line()}" if raw.at else ""
            yield RULE.finding(raw.stub, f"{raw.stub} is not among seatrial's stubs ({raw.stage}){place}")


RULE = Rule(
    code="D020",
    title="a stub lacks an attribute",
    kind="unsure",
    meaning=(
        "The plugin asks the device's own package for something that seatrial's stand-in for it does not list. "
        "That is a gap of seatrial's data, neither a fault of the model nor of the plugin."
    ),
    mend="Add the name to `platforms/<platform>/stubs.toml`, or run where the device's package is installed.",
    find=find,
)
