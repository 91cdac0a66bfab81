"""D019: a name has no shape."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, some


def find(account: DryAccount) -> Iterator[Finding]:
    if account.unshaped:
        names = account.unshaped
        yield RULE.finding(
            names[0], f"{len(names)} names of the index were not loaded, no shape is known: {some(names)}"
        )


RULE = Rule(
    code="D019",
    title="a name has no shape",
    kind="unsure",
    meaning="Only the index is there, and transformers would not write a tensor of this name for this config.",
    mend="Fetch the headers of the shards (the first bytes of each file are enough) and run again.",
    find=find,
)
