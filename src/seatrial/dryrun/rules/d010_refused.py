"""D010: the engine refuses to build the model."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, on_ranks
from seatrial.dryrun.rules.limits import is_gap


def find(account: DryAccount) -> Iterator[Finding]:
    for failure in account.failures:
        raw = failure.raw
        if raw.stage in ("configure", "parallel", "build") and not is_gap(raw):
            place = f" at {raw.at.one_line()}" if raw.at else ""
            message = " ".join(raw.message.split())[:600]
            yield RULE.finding(
                "config.json",
                f"{raw.stage}: {raw.type.rpartition('.')[2]}: {message}{place}"
                f"{on_ranks(failure.ranks, account.tp * account.pp)}",
            )


RULE = Rule(
    code="D010",
    title="the engine refuses to build the model",
    kind="fail",
    meaning=("The engine's own configuration or model class raised before any tensor was read."),
    mend="Mend what the message names in config.json or in the layout (tp, pp, quantization).",
    find=find,
)
