"""The caches of Inkling: attention by heads, and on every layer the last inputs of its short convolutions.

In: a model of type inkling_text. Out: `KvCache`. The rules are vLLM 0.32's (models/inkling/nvidia/sconv_swa_attn.py and
attention.py): the four streams of a layer (K, V, attention output, MLP output) are packed head by head into one window
of the kernel's length, its width rounded up to a power of two. Layers in `local_layer_ids` have a window and sizes of
their own (`swa_...`); `layer_types` is not read by the engine's class. Refuses (NotModelled) more ranks than KV heads.
"""

from __future__ import annotations

from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.kv_sizes import element_bytes, head_bytes
from seatrial.estimate.kv_specs import CacheSpec, Kind, KvCache
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Model, NotModelled, need

# Defaults of the engine's config class (models/inkling/configs.py).
KERNEL, WINDOW = 4, 512


def sconv_cache(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> KvCache:
    """Two specs a layer, in the engine's order."""
    if serving.spec_tokens and serving.own_draft:
        raise NotModelled("the draft layers of inkling_text")
    dtype = serving.kv_dtype
    block = serving.block_size or rules.block
    local = model.text().get("local_layer_ids") or []
    numbers = {n for n in local if type(n) is int} if isinstance(local, list) else set()
    specs: list[CacheSpec] = []
    for layer in range(model.layers()):
        specs += _layer(model, layer, layer in numbers, dtype, layout.tp, block)
    return KvCache(specs=tuple(specs), block=block, state_aligned=False, dtype=dtype)


def _layer(model: Model, layer: int, is_local: bool, dtype: str, tp: int, block: int) -> list[CacheSpec]:
    kv_heads, dim = model.number("num_key_value_heads"), model.number("head_dim")
    if is_local:
        kv_heads = model.number("swa_num_key_value_heads") or kv_heads
        dim = model.number("swa_head_dim") or dim
    heads = need(kv_heads, "num_key_value_heads")
    if tp > heads or heads % tp:
        raise NotModelled(f"the convolution states of {heads} KV heads over {tp} ranks, which the engine refuses")
    width = need(dim, "head_dim")
    kernel = model.number("sconv_kernel_size", "conv_kernel_size") or KERNEL
    raw = 2 * width + 2 * (model.hidden() // heads)
    packed = 1 << (raw - 1).bit_length()
    state = kernel * (heads // tp) * packed * element_bytes(model, "auto")
    window = (model.number("sliding_window_size") or WINDOW) if is_local else None
    kind: Kind = "window" if is_local else "full"
    page = block * head_bytes(model, dtype, heads // tp, width, width)
    return [
        CacheSpec(
            layer=layer, role="convolutions", kind="window", block=kernel, page=state, content=state,
            merge=f"window {kernel} {kernel} {heads // tp} {packed} 0", window=kernel,
            formula=f"{kernel} tokens * {heads // tp} KV heads * {packed} = {state}",
        ),
        CacheSpec(
            layer=layer, role="attention", kind=kind, block=block, page=page, content=page,
            merge=f"{kind} {window or ''} {block} {heads // tp} {width} {width} {dtype}", window=window,
            formula=f"{block} tokens * {heads // tp} KV heads * ({width}+{width}) = {page}",
        ),
    ]  # fmt: skip
