"""D024: a fused layer is of mixed types."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule

KINDS = ("shards", "partial", "experts")


def find(account: DryAccount) -> Iterator[Finding]:
    if account.modelslim is not None:
        for fault in account.modelslim.faults:
            if fault.kind in KINDS:
                yield RULE.finding(fault.place, f"{fault.place}: {fault.message}")


RULE = Rule(
    code="D024",
    title="a fused layer is of mixed types",
    kind="fail",
    meaning=(
        "The ModelSlim description gives the parts of one fused layer (q, k and v; gate and up; the "
        "experts) different types, or leaves some out. The plugin makes one layer of them and refuses, or"
        " takes the first one's type for all."
    ),
    mend="Quantise the parts alike, and describe all of them.",
    find=find,
)
