"""D014: a kernel does not exist on this platform."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    for function, refusal in account.placeholders.items():
        yield RULE.finding(function, f"{function} was answered by a placeholder: {refusal}")


RULE = Rule(
    code="D014",
    title="a kernel does not exist on this platform",
    kind="note",
    meaning=(
        "The engine refuses to choose a kernel here; the dry run answered with a placeholder, as no "
        "kernel runs in it. A real start on this platform would end with the quoted message."
    ),
    mend="Serve on a platform that has the kernel.",
    find=find,
)
