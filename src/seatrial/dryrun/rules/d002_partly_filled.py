"""D002: a parameter is only partly filled."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, on_ranks, shape_text, some


def find(account: DryAccount) -> Iterator[Finding]:
    for trouble in account.parameter_troubles:
        if trouble.state == "partly filled":
            known = trouble.likely != (trouble.name,)
            names = f"; missing in the checkpoint: {some(trouble.likely)}" if known and trouble.likely else ""
            if trouble.short:
                names += f"; filled too little: {some(trouble.short)}"
            yield RULE.finding(
                trouble.name,
                f"{trouble.filled_elements} of {trouble.elements} elements of {trouble.name} "
                f"{shape_text(trouble.shape)} are filled{on_ranks(trouble.ranks, account.tp * account.pp)}{names}",
            )


RULE = Rule(
    code="D002",
    title="a parameter is only partly filled",
    kind="fail",
    meaning=("Some shards of a fused parameter, or some experts, have no tensor. The rest stays uninitialised."),
    mend="Add the named tensors, or mend the names or shapes of those that should have filled the rest.",
    find=find,
)
