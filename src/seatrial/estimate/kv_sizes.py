"""Bytes of one token in a layer's cache: by heads, or as MLA's latent; and the cache's dtype.

In: a model, a mixer, `--kv-cache-dtype`, the rules. Out: bytes on one rank. Refuses (NotModelled) a dtype whose
layout was not read from an engine.
"""

from __future__ import annotations

from seatrial.checkpoint.attention import Mixer
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.layout import Serving
from seatrial.estimate.model import Model, NotModelled, need

# Bytes that each element, and each token's head in K or V, takes; the scales of int8 and fp8 "per token and head" are
# float32 beside the data (vLLM 0.32, v1/attention/backends/triton_attn.py), those of nvfp4 fp8 per 16 elements.
PER_HEAD = {"int8_per_token_head": (8, 4), "fp8_per_token_head": (8, 4), "int4_per_token_head": (4, 4)}
C8 = "int8"
DS_MLA = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}


def cache_dtype(model: Model, serving: Serving, rules: EngineRules) -> str:
    """ "auto" is the checkpoint's own KV cache scheme if it has one, else the model's dtype."""
    if serving.kv_dtype == C8:
        hint = '; it takes int8 from a checkpoint that says "kv_cache_type": "C8"' if rules.c8 else ""
        raise NotModelled(f"--kv-cache-dtype int8: {rules.engine} has no such choice{hint}")
    if serving.kv_dtype != "auto":
        return serving.kv_dtype
    if rules.c8 and _is_c8(model):
        return C8
    quantization = model.card.quantization
    if quantization is None or not model.quantized():
        return "auto"
    if not quantization.method.startswith(("modelopt", "compressed-tensors")):
        return "auto"
    scheme = (_kv_scheme(model) or "").lower()
    return {"fp8": "fp8", "float8": "fp8", "nvfp4": "nvfp4", "float4": "nvfp4"}.get(scheme, "auto")


def _is_c8(model: Model) -> bool:
    """msModelSlim's int8 K and V with scales from the checkpoint; vllm-ascend applies it to attention by heads."""
    quantization = model.card.quantization
    return quantization is not None and quantization.kv_cache == "C8" and model.card.attention.mixers[0].kind != "MLA"


def _kv_scheme(model: Model) -> str | None:
    """As the engine reads it: from config.json's own section where there is one, never then from the file beside it."""
    section = model.config.get("quantization_config")
    if isinstance(section, dict):
        inner = section.get("quantization")
        places = [p for p in (inner, section) if isinstance(p, dict)]
        if not any(p.get(k) for p in places for k in ("kv_cache_scheme", "kv_cache_quant_algo")):
            return None
    return model.card.quantization.kv_cache if model.card.quantization else None


def element_bytes(model: Model, dtype: str) -> int:
    if dtype == "auto":
        return model.dtype_bytes()
    named = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4}
    if dtype in named:
        return named[dtype]
    if dtype.startswith("fp8") or dtype == C8:
        return 1
    raise NotModelled(f"--kv-cache-dtype {dtype}: the layout of such a cache was not read from an engine")


def kv_heads_on_rank(kv_heads: int, tp: int) -> int:
    """KV heads are split; with more ranks than heads each rank keeps a copy of one (vLLM's `get_num_kv_heads`)."""
    return max(1, kv_heads // tp)


def head_bytes(model: Model, dtype: str, heads: int, dim: int, dim_v: int) -> int:
    """Bytes of one token's K and V on a rank with `heads` KV heads."""
    if dtype in PER_HEAD:
        bits, scale = PER_HEAD[dtype]
        return heads * ((dim * bits + dim_v * bits) // 8 + 2 * scale)
    if dtype == "nvfp4":
        return heads * sum(d // 2 + d // 16 for d in (dim, dim_v))
    return heads * (dim + dim_v) * element_bytes(model, dtype)


def latent_bytes(model: Model, dtype: str, mixer: Mixer, rules: EngineRules) -> int:
    """Bytes of one token's latent: the compressed KV and the shared rope part, on every rank alike."""
    if dtype in DS_MLA:
        return DS_MLA[dtype]
    if dtype.startswith("fp8") and mixer.index_topk:
        if rules.sparse_fp8 is None:
            raise NotModelled(f"the fp8 cache of sparse attention on platform {rules.platform!r}")
        return rules.sparse_fp8
    rank = need(mixer.kv_lora_rank, "kv_lora_rank")
    return (rank + need(mixer.rope_dim, "qk_rope_head_dim")) * element_bytes(model, dtype)
