"""D011: the process of a rank ended."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule
from seatrial.engine.border import describe_exit


def find(account: DryAccount) -> Iterator[Finding]:
    for rank, code in account.crashed_ranks.items():
        yield RULE.finding(f"rank {rank}", f"rank {rank} {describe_exit(code)}")


RULE = Rule(
    code="D011",
    title="the process of a rank ended",
    kind="fail",
    meaning=("Building or loading this rank ended the interpreter (a signal or an exit) instead of raising."),
    mend="Read the raw log at its end; run the rank alone with --ranks.",
    find=find,
)
