"""FlashComm1 of vllm-ascend, for models with experts; the plugin dropped it, so everything hangs on the version.

The plugin says that it is on ("sequence parallelism", its other name there) only where it makes a layer of shared
experts (0.23.0, and excerpts of earlier and later sources). For a model without shared experts its log says nothing
either way, and the status stays inconclusive.
"""

from __future__ import annotations

from typing import Literal

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch
from seatrial.platforms.ascend.launch import FLASHCOMM, FLASHCOMM_GONE
from seatrial.platforms.base import at_least

ON = Line(
    pattern=r"Sequence parallelism is enabled, shared experts are replicated",
    source="Sequence parallelism is enabled, shared experts are replicated",
)


class FlashComm1(Feature):
    name = "flashcomm1"
    title = "FlashComm1"
    positive = (ON,)
    negative = (Line(pattern=r"FlashComm is deprecated", source="FlashComm is deprecated"),)

    def not_applicable(self, model: Model, situation: Situation) -> str:
        if situation.platform != "ascend":
            return f"platform {situation.platform}: it is vllm-ascend's"
        if not model.experts():
            return "config.json: no field counts more than one expert"
        if at_least(situation.plugin_version, FLASHCOMM_GONE):
            return f"vllm-ascend {situation.plugin_version} has dropped it for vLLM's sequence parallelism"
        return ""

    def absence(self, model: Model) -> Literal["unsupported", "inconclusive"]:
        return "unsupported" if shared_experts(model) else "inconclusive"

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--enable-expert-parallel",), env={FLASHCOMM: "1"}, tp=max(2, situation.tp))


def shared_experts(model: Model) -> bool:
    """By the fields of the families that have them (DeepSeek, GLM, Qwen)."""
    field = model.field("n_shared_experts", "num_shared_experts", "shared_expert_intermediate_size")
    return field is not None and bool(field[1])


FEATURE = FlashComm1()
