"""D018: a rename would explain it."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    for mend in account.mends:
        what = "prefix" if mend.kind == "prefix" else "tensor"
        tried = f"; {mend.tried}" if mend.tried else ""
        yield RULE.finding(
            mend.old or "(the beginning of the name)",
            f"{what} {mend.old!r} read as {mend.new!r} would place {mend.tensors} tensors{tried}",
            mend.code,
        )


RULE = Rule(
    code="D018",
    title="a rename would explain it",
    kind="note",
    meaning=(
        "Tensors without a place and parameters without a tensor have names that differ in one part only. Prefix "
        "renames are tried in a second dry run before they are shown."
    ),
    mend="Add the mapping to the model's `WeightsMapper`, or rename the tensors of the checkpoint.",
    find=find,
)
