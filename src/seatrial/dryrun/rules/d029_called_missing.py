"""D029: the model calls an operator that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, call_text


def find(account: DryAccount) -> Iterator[Finding]:
    for name, call in account.calls.items():
        if call.state == "missing" and call.certain:
            yield RULE.finding(f"torch.ops.{name}", f"every forward calls {name}: {call_text(call)}")


RULE = Rule(
    code="D029",
    title="the model calls an operator that is not there",
    kind="fail",
    meaning=(
        "Read from the source of the model as it was built here: every way through its forward calls an operator that "
        "no library of this engine or plugin registers. The first request (or the profiling run before it) ends there."
    ),
    mend="Use a build of vLLM or of the plugin that registers it, or a model class that does without.",
    find=find,
)
