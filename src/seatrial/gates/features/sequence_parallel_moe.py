"""Sequence-parallel MoE, vLLM's own and FlashComm1's successor: experts see tokens sharded over tensor-parallel ranks.

vLLM switches it on by itself for expert parallelism with TP and DP above 1 and an all-to-all backend that can
(`ParallelConfig.use_sequence_parallel_moe`, 0.11 to 0.32). vllm-ascend replaces that backend unless its deprecated
`enable_flashcomm1` is set (its guide to sequence parallelism, 2026). Only the plugin logs it, as for FlashComm1.
"""

from __future__ import annotations

from typing import Literal

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch
from seatrial.gates.features.flashcomm1 import ON, shared_experts
from seatrial.platforms.ascend.launch import FLASHCOMM_GONE
from seatrial.platforms.base import at_least

FLAG_SINCE = "0.11.2"  # --all2all-backend; 0.11.0 has a variable only


class SequenceParallelMoe(Feature):
    name = "sequence-parallel-moe"
    title = "Sequence-parallel MoE"
    positive: tuple[Line, ...] = (ON,)

    def not_applicable(self, model: Model, situation: Situation) -> str:
        if situation.platform not in ("ascend", "cuda"):
            return f"platform {situation.platform}: no all-to-all backend there is known to do it"
        if not model.experts():
            return "config.json: no field counts more than one expert"
        if situation.platform == "ascend" and at_least(situation.plugin_version, FLASHCOMM_GONE) is False:
            return f"vllm-ascend {situation.plugin_version} has FlashComm1 in its place"
        return ""

    def not_attempted(self, model: Model, situation: Situation) -> str:
        if at_least(situation.vllm_version, FLAG_SINCE) is False:
            return f"vLLM {situation.vllm_version} has no --all2all-backend"
        return f"it needs 4 devices, and there are {situation.devices}" if situation.devices < 4 else ""

    def absence(self, model: Model) -> Literal["unsupported", "inconclusive"]:
        return "unsupported" if shared_experts(model) else "inconclusive"

    def switch(self, model: Model, situation: Situation) -> Switch:
        args: tuple[str, ...] = ("--data-parallel-size", "2", "--enable-expert-parallel")
        args = (*args, "--all2all-backend", "allgather_reducescatter")
        drop: tuple[str, ...] = ("data-parallel-size", "enable-expert-parallel", "all2all-backend")
        if situation.platform == "ascend":
            args = (*args, "--additional-config", '{"enable_flashcomm1": true}')
            drop = (*drop, "additional-config")
        # Two replicas on the same devices: half the ranks each.
        return Switch(args=args, tp=min(max(2, situation.tp), situation.devices // 2), drop=drop)


FEATURE = SequenceParallelMoe()
