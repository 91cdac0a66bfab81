"""D003: a tensor has no place in the model."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, shape_text


def find(account: DryAccount) -> Iterator[Finding]:
    for trouble in account.tensor_troubles:
        if trouble.state == "unexplained":
            why = f" ({trouble.reason})" if trouble.reason else ""
            yield RULE.finding(
                trouble.name, f"tensor {trouble.name} {trouble.dtype} {shape_text(trouble.shape)} is unexplained{why}"
            )


RULE = Rule(
    code="D003",
    title="a tensor has no place in the model",
    kind="fail",
    meaning=("The loader passed over this tensor, and no statement of the engine that skips it could be found."),
    mend="Rename the tensor, or add a mapping for it; if it is meant to be dropped, map it to `None`.",
    find=find,
)
