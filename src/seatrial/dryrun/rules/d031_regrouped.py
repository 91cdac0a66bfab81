"""D031: the loader reads a tensor in a shape whose rows are not the tensor's own."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, shape_text, some


def find(account: DryAccount) -> Iterator[Finding]:
    for seen in account.regrouped:
        many = len(seen.names)
        yield RULE.finding(
            seen.names[0],
            f"{many} tensor{'s' * (many != 1)} {seen.kind}: the loader views {shape_text(seen.shape)} as "
            f"{shape_text(seen.viewed)}, which merges no neighbouring dimensions of it: what were its rows are torn "
            f"apart ({some(seen.names)})",
        )


RULE = Rule(
    code="D031",
    title="a tensor is viewed in a shape that is not its own",
    kind="unsure",
    meaning=(
        "The number of elements fits, so the engine loads it without a word, but neither shape comes of the other by "
        "merging neighbouring dimensions: elements of one row end up in several. So a transposed tensor is loaded by a "
        "loader that flattens it (the blocks of an MXFP4 checkpoint)."
    ),
    mend=(
        "Compare the tensor's shape with the model's published one; write it in the order that the loader expects, or "
        "mend the loader where the shape is meant so."
    ),
    find=find,
)
