"""D005: a tensor is only partly read."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, shape_text


def find(account: DryAccount) -> Iterator[Finding]:
    for trouble in account.tensor_troubles:
        if trouble.state == "partly read":
            yield RULE.finding(
                trouble.name,
                f"only {trouble.placed_elements} of {trouble.elements} elements of tensor {trouble.name} "
                f"{shape_text(trouble.shape)} are read",
            )


RULE = Rule(
    code="D005",
    title="a tensor is only partly read",
    kind="fail",
    meaning=("The ranks together read fewer elements than the tensor has: it is larger than the model expects."),
    mend="Compare the tensor's shape with the config (heads, hidden sizes, vocabulary, experts).",
    find=find,
)
