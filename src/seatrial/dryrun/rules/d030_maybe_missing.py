"""D030: the model may call an operator that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, call_text


def find(account: DryAccount) -> Iterator[Finding]:
    for name, call in account.calls.items():
        if call.state == "missing" and not call.certain:
            yield RULE.finding(f"torch.ops.{name}", f"behind a condition, {name} is called: {call_text(call)}")


RULE = Rule(
    code="D030",
    title="the model may call an operator that is not there",
    kind="note",
    meaning=(
        "Read from the source of the model as it was built here: behind a condition that the source alone does not "
        "decide (the batch, a flag, what is known only after the weights are loaded), or in a module whose forward was "
        "not seen to be called, there is a call of an operator that no library of this engine or plugin registers."
    ),
    mend="See the line: if the condition can hold, use a build that registers the operator.",
    find=find,
)
