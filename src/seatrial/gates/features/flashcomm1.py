"""FlashComm1 of vllm-ascend, for models with experts; the plugin dropped it, so its source or version decides.

The plugin says that it is on ("sequence parallelism", its other name there) only where it makes a layer of shared
experts, and only in 0.11.0rc1 to 0.23.0. For a model without shared experts its log says nothing either way, and from
0.24.0rc1 on it has no line at all: the status stays inconclusive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch
from seatrial.platforms.ascend.flashcomm import KEY, VARIABLE, FlashComm, flashcomm

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
        seen = of_plugin(situation)
        return f"this vllm-ascend has none that {VARIABLE} switches ({seen.why})" if seen.own is False else ""

    def absence(self, model: Model) -> Literal["unsupported", "inconclusive"]:
        return "unsupported" if shared_experts(model) else "inconclusive"

    def switch(self, model: Model, situation: Situation) -> Switch:
        seen = of_plugin(situation)
        # The key goes before the variable where both are read; where nobody knows, both are set.
        return Switch(
            args=("--enable-expert-parallel",),
            env={VARIABLE: "1"} if seen.key != "reads" else {},
            tp=max(2, situation.tp),
            merged={"additional-config": {KEY: True}} if seen.key in ("reads", "unknown") else {},
        )


def of_plugin(situation: Situation) -> FlashComm:
    """What the plugin at hand does with the switch."""
    source = Path(situation.plugin_source) if situation.plugin_source else None
    return flashcomm(source, situation.plugin_version)


def shared_experts(model: Model) -> bool:
    """By the fields of the families that have them (DeepSeek, GLM, Qwen)."""
    field = model.field("n_shared_experts", "num_shared_experts", "shared_expert_intermediate_size")
    return field is not None and bool(field[1])


FEATURE = FlashComm1()
