"""D007: two tensors write to the same place."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, some


def find(account: DryAccount) -> Iterator[Finding]:
    for overlap in account.overlaps:
        if overlap.by_design:
            continue
        yield RULE.finding(
            overlap.tensors[-1], f"{some(overlap.tensors)} write to the same elements of parameter {overlap.parameter}"
        )


RULE = Rule(
    code="D007",
    title="two tensors write to the same place",
    kind="fail",
    meaning=("Different tensors of the checkpoint fill the same elements of a parameter, so the last one wins."),
    mend="Remove one of the tensors or mend its name (a wrong layer or expert number does this).",
    find=find,
)
