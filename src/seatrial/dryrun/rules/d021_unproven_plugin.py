"""D021: the plugin's version is not proven."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    stubs = account.stubs
    if stubs is not None and not stubs.proven:
        version = stubs.plugin_version or "of unknown version"
        yield RULE.finding("plugin", f"the stubs were not proven with this plugin ({version})")


RULE = Rule(
    code="D021",
    title="the plugin's version is not proven",
    kind="note",
    meaning="The stand-ins for the device's packages were read off other versions of the plugin; they were tried.",
    mend="Trust a pass less than usual; a name that is missing is reported as D020.",
    find=find,
)
