"""D001: a weight is missing."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, on_ranks, shape_text, some


def find(account: DryAccount) -> Iterator[Finding]:
    for trouble in account.parameter_troubles:
        if trouble.state == "missing":
            names = some(trouble.likely)
            yield RULE.finding(
                trouble.name,
                f"parameter {trouble.name} {shape_text(trouble.shape)} is missing"
                f"{on_ranks(trouble.ranks, account.tp * account.pp)}: no tensor fills it; "
                f"expected in the checkpoint: {names}",
            )


RULE = Rule(
    code="D001",
    title="a weight is missing",
    kind="fail",
    meaning=(
        "No checkpoint tensor fills this parameter and no rule of the engine says it may stay empty. The"
        " engine may start all the same and answer nonsense."
    ),
    mend=(
        "Add the named tensor to the checkpoint, or map an existing one to this parameter in the model's"
        " `WeightsMapper`."
    ),
    find=find,
)
