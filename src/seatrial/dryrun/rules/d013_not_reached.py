"""D013: a tensor was not reached."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, some


def find(account: DryAccount) -> Iterator[Finding]:
    waiting = [t.name for t in account.tensor_troubles if t.state == "not reached"]
    if waiting and not any(f.raw.stage in ("configure", "parallel", "build") for f in account.failures):
        yield RULE.finding(waiting[0], f"{len(waiting)} tensors were not reached: {some(waiting)}")


RULE = Rule(
    code="D013",
    title="a tensor was not reached",
    kind="unsure",
    meaning=("The load was given up before this tensor, after too many failures or one that has no tensor."),
    mend="Mend the other findings first and run again.",
    find=find,
)
