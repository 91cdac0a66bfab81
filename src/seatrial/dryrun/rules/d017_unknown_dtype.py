"""D017: a dtype is unknown."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    for dtype in account.unknown_dtypes:
        yield RULE.finding(dtype, f"dtype {dtype} is not one of the safetensors format")


RULE = Rule(
    code="D017",
    title="a dtype is unknown",
    kind="fail",
    meaning=("The header names a dtype that the safetensors format does not have."),
    mend="Write the checkpoint anew with a current safetensors library.",
    find=find,
)
