"""D012: the loader fails without naming a tensor."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, on_ranks


def find(account: DryAccount) -> Iterator[Finding]:
    for failure in account.failures:
        raw = failure.raw
        if not failure.tensor and raw.stage.startswith("load"):
            place = f" at {raw.at.one_line()}" if raw.at else ""
            yield RULE.finding(
                raw.at.file if raw.at else "load_weights",
                f"{raw.type.rpartition('.')[2]}: {' '.join(raw.message.split())[:600]}{place}"
                f"{on_ranks(failure.ranks, account.tp * account.pp)}",
            )


RULE = Rule(
    code="D012",
    title="the loader fails without naming a tensor",
    kind="fail",
    meaning=(
        "load_weights raised after the last tensor or before the first: it checks something of the whole checkpoint."
    ),
    mend="Read the message; other findings usually name the tensors behind it.",
    find=find,
)
