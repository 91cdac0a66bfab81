"""FlashComm1 of vllm-ascend, for models with experts; the plugin dropped it, so everything hangs on the version."""

from __future__ import annotations

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch
from seatrial.platforms.ascend.launch import FLASHCOMM, FLASHCOMM_GONE
from seatrial.platforms.base import at_least


class FlashComm1(Feature):
    name = "flashcomm1"
    title = "FlashComm1"
    negative = (Line(pattern=r"FlashComm is deprecated", source="FlashComm is deprecated"),)

    def not_applicable(self, model: Model, situation: Situation) -> str:
        if situation.platform != "ascend":
            return f"platform {situation.platform}: it is vllm-ascend's"
        if not model.experts():
            return "config.json: no field counts more than one expert"
        if at_least(situation.plugin_version, FLASHCOMM_GONE):
            return f"vllm-ascend {situation.plugin_version} has dropped it for vLLM's sequence parallelism"
        return ""

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--enable-expert-parallel",), env={FLASHCOMM: "1"}, tp=max(2, situation.tp))


FEATURE = FlashComm1()
