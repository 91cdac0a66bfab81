"""Support: the road the engine takes, whose class it is, the case, and the plugins."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Code, Column, Fold, Pairs, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of, cell, text_cell
from seatrial.report.sections.common import leftover, pair
from seatrial.report.words import label

ROADS = {
    "native": "native: a class of vLLM or of a plugin",
    "transformers-backend": "vLLM's wrapper of the Transformers library's class",
    "remote-code": "only the checkpoint's own code might run it",
    "none": "none",
    "unknown": "unknown",
}
CASES = {
    "A": "A: the engine already runs it",
    "B": "B: a new architecture",
    "C": "C: an MoE variant of a supported one",
    "D": "D: multimodal",
}
NO_ANSWER = "the engine did not answer"


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict):
        return blocks_of(step.facts, "facts")
    facts = Facts(step.facts)
    case, served = facts.child("case"), facts.child("served_by")
    letter, road = case.text("case"), facts.text("road")
    relatives = case.texts("relatives")
    rows = [
        pair("case", CASES.get(letter, letter) or None, NO_ANSWER, case.text("reason")),
        pair("road", ROADS.get(road, road) or None, NO_ANSWER),
        pair("architectures", facts.take("architectures"), "config.json names none"),
        pair("model type", facts.text("model_type") or None, "config.json names none"),
        pair("served by", served.text("architecture") or None, "no class of the engine takes it"),
        pair("class", served.text("class_path") or None, "no class of the engine takes it", served.text("owner")),
    ]
    for key in ("upstream_class_path", "converted_from", "file"):
        if value := served.text(key):
            rows.append(pair(label(key), value))
    if relatives:
        rows.append(pair("relatives by name", relatives))
    rows += [
        pair("vLLM", facts.text("vllm_version") or None, NO_ANSWER),
        pair("platform", facts.text("device_type") or None, NO_ANSWER, facts.text("platform_class")),
        pair("architectures the engine registers", facts.take("supported_count"), NO_ANSWER),
    ]
    found: list[Block] = [Pairs(rows=tuple(rows))]
    if info := served.take("info"):
        found.append(Fold(title="What the engine says of this class", blocks=tuple(blocks_of(info))))
    # The serving class is one of the states too: what is shown above is not repeated as a leftover.
    for key in served:
        served.take(key)
    found += _states(facts.objects("states"))
    if plugins := facts.objects("plugins"):
        found.append(_plugins(plugins))
    return [*found, *leftover(facts)]


def _states(states: list[dict[str, Any]]) -> list[Block]:
    """Each architecture the checkpoint names, as the engine sees it."""
    found: list[Block] = []
    for state in states[:MAX_ROWS]:
        one = Facts(state)
        name = one.text("architecture")
        traceback = one.text("traceback")
        rows = []
        for key in state:
            if key in ("architecture", "traceback", "info") or state[key] in ("", None, {}, []):
                one.take(key)
            elif not isinstance(state[key], (dict, list)):
                rows.append(pair(label(key), one.take(key)))
        inner: list[Block] = [Pairs(rows=tuple(rows))]
        if traceback:
            inner.append(Code(title="traceback", text=traceback))
        inner += leftover(one)
        found.append(Fold(title=f"Architecture {name} as the engine sees it", blocks=tuple(inner)))
    return found


def _plugins(plugins: list[dict[str, Any]]) -> Block:
    tones = {"loaded": "pass", "load-failed": "fail", "raised": "fail"}
    keys = list(dict.fromkeys(k for p in plugins for k in p))
    rows = []
    for plugin in plugins[:MAX_ROWS]:
        state = str(plugin.get("state", ""))
        rows.append(
            tuple(
                Cell(text=state, tone=tones.get(state, "")) if k == "state" else _short(plugin.get(k))  # type: ignore[arg-type]
                for k in keys
            )
        )
    return Table(title="Plugins", columns=tuple(Column(title=label(k)) for k in keys), rows=tuple(rows))


def _short(value: Any) -> Cell:
    if value == "":
        return Cell(text="–")
    return cell(value) if not isinstance(value, dict) else text_cell(str(value))
