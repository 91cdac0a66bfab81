"""The engine: who it is, and whether the target's platform is active."""

from __future__ import annotations

from seatrial.report.blocks import Block, Fold, Pairs, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import blocks_of, table_of
from seatrial.report.sections.common import leftover, pair

SAID_NOTHING = "the engine did not say"
# Key, title, and the key that says why the value is not known.
ROWS = (
    ("vllm_version", "vLLM", "vllm_error"),
    ("vllm_file", "vLLM's place", "vllm_error"),
    ("device_type", "active platform", "platform_error"),
    ("platform_class", "platform class", "platform_error"),
    ("python", "Python", ""),
    ("executable", "interpreter", ""),
)


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict):
        return blocks_of(step.facts, "facts")
    facts = Facts(step.facts)
    rows = []
    for key, title, why in ROWS:
        if key in facts:
            reason = facts.text(why) if why else ""
            rows.append(pair(title, facts.take(key), reason or SAID_NOTHING))
    if "torchvision_error" in facts:
        error = facts.text("torchvision_error")
        rows.append(pair("torchvision", f"does not import: {error}" if error else "imports"))
    found: list[Block] = [Pairs(rows=tuple(rows))] if rows else []
    if plugins := facts.objects("plugins"):
        found.append(table_of(plugins, "Plugins installed beside the engine"))
    elif "plugins" in facts:
        found.append(Table(title="Plugins installed beside the engine", columns=(), rows=(), left_out="none"))
    packages = facts.child("packages")
    if names := packages:
        shown = Pairs(rows=tuple(pair(n, packages.take(n), "not installed") for n in names))
        found.append(Fold(title="Packages of the engine's environment", blocks=(shown,)))
    return [*found, *leftover(facts)]
