"""The cache of MLA: the latent where the engine caches it, the sparse indexer's keys beside it.

In: a model, a layer's mixer, the block size. Out: `CacheSpec`s of the layer.
"""

from __future__ import annotations

from seatrial.checkpoint.attention import Mixer
from seatrial.core.record import replace
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.indexers import without_indexer
from seatrial.estimate.kv_sizes import element_bytes, latent_bytes
from seatrial.estimate.kv_specs import CacheSpec
from seatrial.estimate.model import Model, need

# The families for which the engine caches MLA's latent (vLLM 0.32's `is_deepseek_mla`); any other that has one computes
# K and V of every head from it and caches those, V padded to K's size (MiniCPM3, DeepSeek's class without MLA).
LATENT = {
    "axk1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "deepseek_v41", "dots3_note", "glm5_next",
    "glm5_next_text", "glm_moe_dsa", "glm4_moe_lite", "kimi_k2", "kimi_linear", "longcat_flash", "pangu_ultra_moe",
    "bailing_hybrid", "hy_v4",
}  # fmt: skip


def as_cached(model: Model, mixer: Mixer) -> Mixer:
    """The mixer as the engine caches it: by heads where it does not know the family's latent."""
    if mixer.kind != "MLA" or mixer.kv_lora_rank is None or model.kind() in LATENT:
        return mixer
    dim = need(mixer.nope_dim, "qk_nope_head_dim") + need(mixer.rope_dim, "qk_rope_head_dim")
    return replace(mixer, kind="MHA", kv_heads=mixer.heads, head_dim=dim, value_head_dim=dim, index_topk=None)


def latent_specs(model: Model, index: int, mixer: Mixer, dtype: str, block: int, rules: EngineRules) -> list[CacheSpec]:
    token = latent_bytes(model, dtype, mixer, rules)
    leads = mixer.index_topk is not None and index not in without_indexer(model)
    if leads and rules.keys_in_latent:
        dim = need(model.card.attention.index_head_dim, "index_head_dim")
        token += dim * element_bytes(model, dtype)
        page, sizes = block * token, f"{mixer.kv_lora_rank}+{mixer.rope_dim}+{dim}"
        return [
            CacheSpec(
                layer=index, role="attention", kind="mla", block=block, page=page, content=page,
                merge=f"mla {block} {token} {leads}", formula=f"{block} tokens * ({sizes}) = {page}",
            )
        ]  # fmt: skip
    specs = [
        CacheSpec(
            layer=index, role="attention", kind="mla", block=block, page=block * token, content=block * token,
            merge=f"mla {block} {token} {leads}",
            formula=f"{block} tokens * ({mixer.kv_lora_rank}+{mixer.rope_dim}) = {block * token}",
        )
    ]  # fmt: skip
    if leads:
        # The sparse indexer's keys: one byte per element and a float32 scale per 128 (vLLM's deepseek_v2.Indexer).
        dim = need(model.card.attention.index_head_dim, "index_head_dim")
        size = dim + dim // 128 * 4
        specs.append(
            CacheSpec(
                layer=index, role="indexer", kind="mla", block=block, page=block * size, content=block * size,
                merge=f"indexer {block} {size}", formula=f"{block} tokens * ({dim} + {dim // 128}*4) = {block * size}",
            )
        )  # fmt: skip
    return specs
