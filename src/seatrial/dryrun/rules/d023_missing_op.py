"""D023: an operator is missing on this platform."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    for name, place in account.missing_ops.items():
        yield RULE.finding(
            f"torch.ops.{name}", f"the model asks for {name}, which no library here has: {place.one_line()}"
        )


RULE = Rule(
    code="D023",
    title="an operator is missing on this platform",
    kind="note",
    meaning=(
        "While it was built the model asked for a compiled operator that the engine's libraries here do not have; the "
        "dry run let it be, as no kernel runs in it. A real start with these libraries would end there."
    ),
    mend="Install a build of vLLM (or of the plugin) with this operator, made for the torch that is installed.",
    find=find,
)
