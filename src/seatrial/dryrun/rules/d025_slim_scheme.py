"""D025: the plugin has no such scheme."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule

KINDS = ("scheme",)


def find(account: DryAccount) -> Iterator[Finding]:
    if account.modelslim is not None:
        for fault in account.modelslim.faults:
            if fault.kind in KINDS:
                yield RULE.finding(fault.place, f"{fault.place}: {fault.message}")


RULE = Rule(
    code="D025",
    title="the plugin has no such scheme",
    kind="fail",
    meaning=("The ModelSlim description names a type for which the plugin registers no scheme for this kind of layer."),
    mend="Quantise with a type that the plugin has for this kind of layer, or use a version of it that has this one.",
    find=find,
)
