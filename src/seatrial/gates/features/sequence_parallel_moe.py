"""Sequence-parallel MoE, vLLM's own and FlashComm1's successor: experts see tokens sharded over tensor-parallel ranks.

vLLM switches it on by itself for expert parallelism with TP and DP above 1 and an all-to-all backend that can
(`ParallelConfig.use_sequence_parallel_moe`, 0.11 to 0.32). vllm-ascend's main of 2026-08-22 leaves that to vLLM; by its
guide of 2026-09-04 it replaces the backend unless its deprecated `enable_flashcomm1` is set. Nobody logs it: the line
that the plugin printed for FlashComm1 went with 0.24.
"""

from __future__ import annotations

from typing import Literal

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch
from seatrial.gates.features.flashcomm1 import ON, of_plugin, shared_experts
from seatrial.platforms.ascend.flashcomm import KEY
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
        seen = of_plugin(situation)
        if situation.platform == "ascend" and seen.own:
            return f"this vllm-ascend has FlashComm1 in its place ({seen.why})"
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
        # A key that the plugin only warns about is not set.
        keyed = situation.platform == "ascend" and of_plugin(situation).key in ("reads", "unknown")
        # Two replicas on the same devices: half the ranks each.
        return Switch(
            args=args,
            tp=min(max(2, situation.tp), situation.devices // 2),
            drop=drop,
            merged={"additional-config": {KEY: True}} if keyed else {},
        )


FEATURE = SequenceParallelMoe()
