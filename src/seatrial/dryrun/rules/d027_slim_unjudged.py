"""D027: the description was judged in part."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule


def find(account: DryAccount) -> Iterator[Finding]:
    check = account.modelslim
    if check is None:
        return
    if not check.schemes_read:
        yield RULE.finding("quant_model_description.json", "the plugin's source was not found: schemes were not judged")
    elif not check.known_model_type:
        yield RULE.finding(
            "quant_model_description.json",
            f"the plugin lists no fused layers for model type {check.model_type!r}: vLLM's model class decides which "
            "there are, and half-described ones were not judged",
        )


RULE = Rule(
    code="D027",
    title="the description was judged in part",
    kind="note",
    meaning="Part of the check of a ModelSlim description needs the plugin's own tables, and they do not have this.",
    mend="Name the folder with the plugin's sources (--plugin, or roots.plugin); add the model type to its table.",
    find=find,
)
