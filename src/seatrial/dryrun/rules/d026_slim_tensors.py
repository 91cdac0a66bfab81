"""D026: description and tensors disagree."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule

KINDS = ("tensor", "dtype", "unreadable", "lookup", "cache")


def find(account: DryAccount) -> Iterator[Finding]:
    if account.modelslim is not None:
        for fault in account.modelslim.faults:
            if fault.kind in KINDS:
                yield RULE.finding(fault.place, f"{fault.place}: {fault.message}")


RULE = Rule(
    code="D026",
    title="description and tensors disagree",
    kind="fail",
    meaning=(
        "The ModelSlim description speaks of tensors that the checkpoint does not have, gives a type "
        "that their dtype contradicts, names layers as the plugin never looks them up, has entries for the "
        "KV cache that it does not read or cannot serve, or cannot be read itself."
    ),
    mend="Write the description together with the weights; take both from the same export.",
    find=find,
)
