"""D006: a tensor name occurs twice."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    for name in account.duplicates:
        yield RULE.finding(name, f"tensor {name} occurs more than once in the checkpoint")


RULE = Rule(
    code="D006",
    title="a tensor name occurs twice",
    kind="fail",
    meaning=("Two shards hold a tensor of this name; which one counts depends on the order of the files."),
    mend="Write the checkpoint anew with each tensor once, or mend the index.",
    find=find,
)
