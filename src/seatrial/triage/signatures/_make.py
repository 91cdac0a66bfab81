"""Short constructors for the family files."""

from __future__ import annotations

from typing import Any

from seatrial.triage.signature import Kind, Signature, Tier

WEAK, SHAPE, LITERAL, EXACT = Tier.WEAK, Tier.SHAPE, Tier.LITERAL, Tier.EXACT
# Tracebacks pass through these when the plugin is at work; used in `frames` and `innermost`.
PLUGIN = r"vllm_ascend|vllm-ascend|vllm_kunlun|vLLM-Kunlun|vllm_gaudi|vllm-gaudi|vllm_fl|vllm_omni|sglang_kernel_npu|omni_npu"

# Parts of the engine with a subject of their own: what they refuse is about that subject, however they word it.
KV_PARTS = r"kv_transfer|kv_p2p|kv_pool|kv_offload|/ec_transfer"
SUBJECTS = rf"{KV_PARTS}|/eplb/|eplb_|/lora/|punica|spec_decode|rejection_sampler|structured_output|/multimodal/"


def root(id: str, category: str, pattern: str, tier: Tier, cause: str, next_step: str, **more: Any) -> Signature:
    """A signature that may be the answer."""
    return Signature(
        id=id, kind=Kind.ROOT, category=category, tier=tier, pattern=pattern, cause=cause, next_step=next_step, **more
    )


def other(kind: Kind, id: str, pattern: str, cause: str, next_step: str = "", **more: Any) -> Signature:
    """A wrapper, a known noise line, a consequence, or evidence."""
    return Signature(
        id=id, kind=kind, category="", tier=Tier.LITERAL, pattern=pattern, cause=cause, next_step=next_step, **more
    )
