"""D022: the plugin is not what was built with."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    stubs, platform = account.stubs, account.platform
    if stubs is not None and platform is not None and platform.class_.startswith("vllm."):
        yield RULE.finding(
            "plugin",
            f"vLLM chose its own {platform.class_} (plugin version: {stubs.plugin_version or 'none found'})",
        )


RULE = Rule(
    code="D022",
    title="the plugin is not what was built with",
    kind="unsure",
    meaning=(
        "The target names a hardware plugin, but vLLM activated a platform of its own, so the account says nothing "
        "about the plugin."
    ),
    mend="Install the plugin beside vLLM, or name the folder with its sources (--plugin, or roots.plugin).",
    find=find,
)
