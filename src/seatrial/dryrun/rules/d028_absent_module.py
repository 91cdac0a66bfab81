"""D028: a module that the plugin wants is not in this environment."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    told: set[str] = set()
    for failure in account.failures:
        raw = failure.raw
        if raw.absent and not raw.stub and raw.absent not in told:
            told.add(raw.absent)
            place = f", asked for at {raw.at.one_line()}" if raw.at else ""
            yield RULE.finding(raw.absent, f"{raw.absent} has no code in this environment ({raw.stage}){place}")


RULE = Rule(
    code="D028",
    title="a module that the plugin wants is not in this environment",
    kind="unsure",
    meaning=(
        "Behind stubs, the plugin's code wants a package that is not installed here, or a module that this build of "
        "vLLM leaves empty and one for a device fills. On the device it may be there: that is neither a fault of the "
        "model nor of the plugin."
    ),
    mend="Install the package or the vLLM that the plugin is used with, or run on the device.",
    find=find,
)
