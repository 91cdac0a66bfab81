"""D004: the engine fails on a tensor."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, on_ranks, shape_text
from seatrial.dryrun.rules.limits import is_gap


def find(account: DryAccount) -> Iterator[Finding]:
    for failure in account.failures:
        if failure.tensor and not is_gap(failure.raw):
            raw = failure.raw
            target = f" into {raw.parameter} {shape_text(raw.parameter_shape)}" if raw.parameter else ""
            place = f" at {raw.at.one_line()}" if raw.at else ""
            message = " ".join(raw.message.split())[:300]
            kind = raw.type.rpartition(".")[2]
            yield RULE.finding(
                failure.tensor,
                f"tensor {failure.tensor} {shape_text(failure.tensor_shape)}{target}: {kind}: {message}"
                f"{place}{on_ranks(failure.ranks, account.tp * account.pp)}",
            )


RULE = Rule(
    code="D004",
    title="the engine fails on a tensor",
    kind="fail",
    meaning=("The model's own `load_weights` raised while it held this tensor. The account goes on with the next one."),
    mend="Mend the tensor's name or shape, or the model's mapping at the quoted line.",
    find=find,
)
