"""D009: a tensor has another dtype than its peers."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, some
from seatrial.dryrun.rules.dtypes import kind_of_number


def find(account: DryAccount) -> Iterator[Finding]:
    for cast in account.casts:
        same = kind_of_number(cast.tensor_dtype) == kind_of_number(cast.parameter_dtype)
        if same and (cast.alone or (cast.of >= 2 and cast.count * 2 <= cast.of)):
            others = "the rest of the checkpoint" if cast.alone else "their peers"
            yield RULE.finding(
                cast.names[0],
                f"{cast.count} of {cast.of} tensors {cast.kind} are {cast.tensor_dtype}, unlike {others} "
                f"(parameter {cast.parameter_dtype}): {some(cast.names)}",
            )


RULE = Rule(
    code="D009",
    title="a tensor has another dtype than its peers",
    kind="unsure",
    meaning=(
        "All other tensors of its kind have one dtype and this one has another. The engine casts it, "
        "which is right only if the header tells the truth."
    ),
    mend="Compare the tensor's dtype and byte range with its peers' in the shard's header.",
    find=find,
)
