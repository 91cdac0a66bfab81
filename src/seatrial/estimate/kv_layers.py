"""The KV cache of every layer on one rank, as the engine would specify it: kind, tokens per block, bytes per block.

In: a model, a layout, how it is served, the engine's rules. Out: one `CacheSpec` per layer that keeps a cache. The
formulas are those of vLLM 0.32's `get_kv_cache_spec` methods; `bench/plan_engine.py` compares each with the engine's.
Two figures per layer: `page`, what the engine allocates for a block, and `content`, what the formula alone needs.
Longer than 250 lines: one short formula per kind of layer, and they share the block sizes.
"""

from __future__ import annotations

from math import lcm, prod
from typing import Literal

from seatrial.checkpoint.attention import Mixer
from seatrial.checkpoint.config import MOST_LAYERS
from seatrial.core.errors import UsageError
from seatrial.core.record import Record, replace
from seatrial.estimate.draft import draft_layers, draft_mixer
from seatrial.estimate.encoders import keeps_no_cache
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.indexers import without_indexer
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import DTYPE_BYTES, Lacking, Model, NotModelled, need

Kind = Literal["full", "mla", "window", "window-mla", "chunk", "state", "cross", "ring"]
HEADS = ("GQA", "MQA", "MHA")
# Bytes that each element, and each token's head in K or V, takes; the scales of int8 and fp8 "per token and head" are
# float32 beside the data (vLLM 0.32, v1/attention/backends/triton_attn.py), those of nvfp4 fp8 per 16 elements.
PER_HEAD = {"int8_per_token_head": (8, 4), "fp8_per_token_head": (8, 4), "int4_per_token_head": (4, 4)}
C8 = "int8"
DS_MLA = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}


# The families for which the engine caches MLA's latent (vLLM 0.32's `is_deepseek_mla`); any other that has one computes
# K and V of every head from it and caches those, V padded to K's size (MiniCPM3, DeepSeek's class without MLA).
LATENT = {
    "axk1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "deepseek_v41", "dots3_note", "glm5_next",
    "glm5_next_text", "glm_moe_dsa", "glm4_moe_lite", "kimi_k2", "kimi_linear", "longcat_flash", "pangu_ultra_moe",
    "bailing_hybrid", "hy_v4",
}  # fmt: skip
# Tokens between two kept states of a model without any attention: the engine's default block size, taken before the
# platform chooses its own (vLLM 0.32, models/config.py).
STATE_BLOCK = 16
# Families whose window is one token longer in the engine than in config.json (commandr.py, cohere2_moe.py).
ONE_MORE = ("cohere2", "cohere2_moe")
# Families whose caches follow rules of their own that are not written here.
UNREAD = {
    "inkling_text": "inkling_text: windows with sizes of their own, and convolution states beside attention",
}


class CacheSpec(Record):
    """One layer's cache. `merge` is equal for layers that can share a group with one page size.

    `block` in tokens, `page` and `content` in bytes per block of one layer on one rank. `states`: how many states one
    request holds (with prefix caching also those at block borders; Mamba 2 one more, for its prefill checkpoint).
    `formula` is what `content` was made from; `encoder` how many of an encoder's tokens are kept (cross-attention).
    """

    layer: int
    role: str
    kind: Kind
    block: int
    page: int
    content: int
    merge: str
    formula: str
    window: int | None = None
    chunk: int | None = None
    states: int = 1
    encoder: int | None = None


class KvCache(Record):
    """All layers on one rank, with the block sizes the engine would choose and what was read for it."""

    specs: tuple[CacheSpec, ...]
    block: int
    state_aligned: bool
    dtype: str
    notes: tuple[str, ...] = ()

    def content_per_token(self) -> float:
        """Bytes that one more token of a long context needs, by formula alone: windows and states add nothing."""
        return sum(s.content / s.block for s in self.specs if s.kind in ("full", "mla"))


def kv_cache(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> KvCache:
    """All layers of the language model; raises Lacking or NotModelled."""
    attention = model.card.attention
    if none := keeps_no_cache(model):
        told = check_block(serving, rules, False)
        block = serving.block_size or rules.block
        return KvCache(specs=(), block=block, state_aligned=False, dtype=serving.kv_dtype, notes=(*told, none))
    if kind := UNREAD.get(model.kind()):
        raise NotModelled(kind)
    if not attention.pattern:
        raise Lacking("num_attention_heads", "config.json does not say what the layers' attention is")
    mixers = [as_cached(model, m) for m in attention.mixers]
    kinds = own_layers(model, mixers)
    crossed = crosses(model)
    dtype = _cache_dtype(model, serving, rules)
    mla = any(m.kind == "MLA" for m in kinds)
    if any(m.compress_ratio is not None for m in kinds):
        raise NotModelled(
            "compress_ratios: attention whose cache is compressed (DeepSeek-V4); its paged layout differs by device"
        )
    block = serving.block_size or (rules.mla_block if mla else rules.block)
    told = check_block(serving, rules, mla)
    if mla and rules.platform == "cpu":
        block = rules.mla_block
    states = [state_bytes(model, p, layout.tp, serving, rules) for m in kinds for p in m.parts() if p.state is not None]
    aligned = bool(states) and serving.prefix_caching
    padded: int | None = None
    if states and not any(m.kind in (*HEADS, "MLA") for m in kinds):
        block = serving.block_size or STATE_BLOCK
    if states and any(m.kind in (*HEADS, "MLA") for m in kinds):
        block, padded = _align(model, kinds, dtype, layout.tp, block, max(states), mla, rules)
    shared = _shared_layers(model)
    specs: list[CacheSpec] = []
    for i, mixer in enumerate(kinds):
        if i in shared:
            continue
        for part in mixer.parts():
            made = _layer(model, i, part, dtype, layout.tp, block, padded, serving, rules, aligned)
            specs += made
            specs += [_crossed(s, serving, rules) for s in made if crossed]
    notes: tuple[str, ...] = (f"layers {min(shared)} and above use the cache of an earlier layer",) if shared else ()
    drafting = draft_layers(model, serving)
    chosen = draft_mixer(model) if drafting else None
    for i in range(drafting if chosen is not None else 0):
        mixer = mixers[chosen or 0]
        found = _layer(model, len(kinds) + i, mixer, dtype, layout.tp, block, padded, serving, rules, aligned)
        specs += [replace(s, role=f"draft {s.role}") for s in found]
    if dtype == C8:
        notes += ("kv_cache_type C8: K and V of every layer are counted as int8; layers without scales would not be",)
    if serving.spec_tokens and (not drafting or chosen is None):
        notes += ("the cache of a separate draft model is not counted",)
    return KvCache(specs=tuple(specs), block=block, state_aligned=aligned, dtype=dtype, notes=(*told, *notes))


def as_cached(model: Model, mixer: Mixer) -> Mixer:
    """The mixer as the engine caches it: by heads where it does not know the family's latent."""
    if mixer.kind != "MLA" or mixer.kv_lora_rank is None or model.kind() in LATENT:
        return mixer
    dim = need(mixer.nope_dim, "qk_nope_head_dim") + need(mixer.rope_dim, "qk_rope_head_dim")
    return replace(mixer, kind="MHA", kv_heads=mixer.heads, head_dim=dim, value_head_dim=dim, index_topk=None)


def own_layers(model: Model, mixers: list[Mixer]) -> list[Mixer]:
    """One mixer per layer that can keep a cache, as the engine counts them; the model's layers for most families."""
    if model.kind() == "hrm_text":
        # HRM's two stacks run in cycles, and each pass of a layer keeps a cache of its own; one KV head for each head.
        names = ("num_layers_per_stack", "H_cycles", "L_cycles")
        stack, slow, fast = (need(model.number(n), n) for n in names)
        return [replace(mixers[0], kv_heads=mixers[0].heads)] * min(stack * slow * (fast + 1), MOST_LAYERS)
    found = [mixers[i] for i in model.card.attention.pattern]
    if model.kind() == "zamba2":
        # Its Mamba layers, and attention blocks of shared weights with a cache for each place where one is used.
        places = model.text().get("hybrid_layer_ids")
        if not isinstance(places, list):
            raise Lacking("hybrid_layer_ids", "is missing from config.json")
        card = model.card.attention
        shared = Mixer(kind="MHA", heads=card.heads, kv_heads=card.kv_heads, head_dim=card.head_dim)
        found += [shared] * min(len(places), MOST_LAYERS)
    return found


def crosses(model: Model) -> bool:
    """Whether each layer also attends to an encoder and caches its keys and values."""
    if not model.config.get("is_encoder_decoder"):
        return False
    if model.kind() != "whisper":
        raise NotModelled(f"is_encoder_decoder: the cross-attention of {model.kind()} was not read from an engine")
    return True


def _crossed(spec: CacheSpec, serving: Serving, rules: EngineRules) -> CacheSpec:
    """The cache of cross-attention beside a layer's own: equal pages, as many tokens as the encoder may take."""
    tokens = serving.encoder_tokens or serving.max_num_batched_tokens or rules.batched_tokens
    return replace(spec, role="cross-attention", kind="cross", merge=f"cross {spec.merge}", encoder=tokens)


def check_block(serving: Serving, rules: EngineRules, mla: bool) -> tuple[str, ...]:
    """What there is to say of --block-size; raises UsageError where the engine's kernels take no such block.

    vLLM 0.32 refuses a block that is no multiple of its attention kernel's (v1/worker/utils.py: No common block size).
    """
    given = serving.block_size
    if given is None:
        return ()
    if mla and rules.platform == "cpu":
        # vllm/platforms/cpu.py sets it outright.
        return (
            () if given == rules.mla_block else (f"--block-size {given}: the engine takes {rules.mla_block} for MLA",)
        )
    kernel = rules.mla_kernel_block if mla else rules.kernel_block
    if given % kernel == 0:
        return ()
    if rules.kernel_proven:
        raise UsageError(
            f"--block-size {given} is no multiple of {kernel}, the block of {rules.engine}'s attention kernels on "
            f"{rules.platform}",
            mend=f"Give {kernel * (given // kernel + 1)}, or leave it out.",
        )
    return (f"--block-size {given}: whether {rules.engine} takes it is unknown, its default is {rules.block}",)


def _cache_dtype(model: Model, serving: Serving, rules: EngineRules) -> str:
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


def state_bytes(model: Model, mixer: Mixer, tp: int, serving: Serving, rules: EngineRules) -> int:
    """Bytes of one request's convolution and recurrent state on a rank (vLLM's MambaStateShapeCalculator)."""
    total = 0
    for shape, size in state_shapes(model, mixer, tp, serving, rules):
        total += prod(shape) * size
    return total


def state_shapes(
    model: Model, mixer: Mixer, tp: int, serving: Serving, rules: EngineRules
) -> list[tuple[tuple[int, ...], int]]:
    """(shape, bytes per element) of each state tensor on a rank."""
    state = mixer.state
    if state is None or mixer.kind not in ("gated-deltanet", "mamba2", "mamba", "kda"):
        raise NotModelled(f"the state of a layer of kind {mixer.kind!r}")
    if state.conv is None or state.recurrent is None:
        raise Lacking(f"{mixer.kind} sizes", "config.json does not state them all")
    conv = state.conv
    channels = conv[1]
    if mixer.kind == "mamba2" and state.groups and state.groups % tp and state.state_size:
        # Groups that do not divide are copied so that every head has its own on its rank.
        channels += 2 * (tp - state.groups) * state.state_size
    heads = state.recurrent[0]
    if channels % tp or heads % tp:
        raise NotModelled(f"a state of {heads} heads and {channels} channels over {tp} ranks")
    activation = model.dtype_bytes()
    recurrent = rules.ssm_dtype or _ssm_dtype(model, mixer)
    return [
        ((conv[0] + serving.spec_tokens, channels // tp), activation),
        ((heads // tp, *state.recurrent[1:]), DTYPE_BYTES[recurrent]),
    ]


def _ssm_dtype(model: Model, mixer: Mixer) -> str:
    """The recurrent state's dtype: the config's, else the class default (float32 for Nemotron-H and KDA), else the
    model's.
    """
    from seatrial.checkpoint.dtypes import TORCH_NAMES

    stated = mixer.state.dtype if mixer.state else None
    if stated:
        return TORCH_NAMES.get(stated, "F32")
    if mixer.kind == "kda" or model.kind() == "nemotron_h":
        return "F32"
    return model.dtype()


def _align(
    model: Model, kinds: list[Mixer], dtype: str, tp: int, block: int, state: int, mla: bool, rules: EngineRules
) -> tuple[int, int]:
    """vLLM's `_align_hybrid_block_size`: attention pages grow until a state fits into one; states are padded to it."""
    attention = next(m for m in kinds if m.kind in (*HEADS, "MLA"))
    if attention.kind == "MLA":
        token = latent_bytes(model, dtype, attention, rules)
        kernel = rules.mla_kernel_block
    else:
        dim = need(attention.head_dim, "head_dim")
        heads = kv_heads_on_rank(need(attention.kv_heads, "num_key_value_heads"), tp)
        token = head_bytes(model, dtype, heads, dim, attention.value_head_dim or dim)
        kernel = rules.kernel_block
    step = max(kernel, block)
    if mla:
        step = max(step, 128)
    wanted = step * -(-state // (step * token))
    wanted = lcm(kernel) * -(-wanted // kernel)
    block = max(block, wanted)
    return block, block * token


def _shared_layers(model: Model) -> set[int]:
    """Layers that read an earlier layer's cache (Gemma 3n and 4: the last `num_kv_shared_layers`)."""
    count = model.card.attention.kv_shared_layers or 0
    layers = model.card.architecture.layers or 0
    return set(range(layers - count, layers)) if 0 < count < layers else set()


def _layer(
    model: Model,
    index: int,
    mixer: Mixer,
    dtype: str,
    tp: int,
    block: int,
    padded: int | None,
    serving: Serving,
    rules: EngineRules,
    aligned: bool,
) -> list[CacheSpec]:
    if mixer.kind == "none":
        return []
    if mixer.state is not None:
        content = state_bytes(model, mixer, tp, serving, rules)
        shapes = " + ".join(f"{'x'.join(map(str, s))}*{b}" for s, b in state_shapes(model, mixer, tp, serving, rules))
        tokens = block if aligned else serving.max_model_len or need(_context(model), "max_position_embeddings")
        page = max(content, padded or 0)
        return [
            CacheSpec(
                layer=index, role="state", kind="state", block=tokens, page=page, content=content,
                merge=f"state {page}", formula=shapes,
                states=(3 if mixer.kind == "mamba2" else 2) if aligned else 1,
            )
        ]  # fmt: skip
    if mixer.kind == "MLA":
        return _latent(model, index, mixer, dtype, block, rules)
    if mixer.kind == "unknown" and not mixer.heads:
        raise Lacking("num_attention_heads", "is missing from config.json")
    if mixer.kind not in HEADS:
        raise NotModelled(f"the KV cache of a layer of kind {mixer.kind!r}")
    dim = need(mixer.head_dim, "head_dim")
    dim_v = mixer.value_head_dim or dim
    heads = kv_heads_on_rank(need(mixer.kv_heads, "num_key_value_heads"), tp)
    token = head_bytes(model, dtype, heads, dim, dim_v)
    formula = f"{block} tokens * {heads} KV heads * ({dim}+{dim_v}) = {block * token}"
    sizes = f"{heads} {dim} {dim_v} {dtype}"
    own = block
    kind: Kind = "full"
    window = mixer.window
    if window:
        kind = "window"
        window += model.kind() in ONE_MORE
        own = max(rules.kernel_block, block // rules.kernel_block * rules.kernel_block)
    elif mixer.chunk:
        kind = "chunk"
    return [
        CacheSpec(
            layer=index, role="attention", kind=kind, block=own, page=own * token, content=own * token,
            merge=f"{kind} {window or ''}{mixer.chunk or ''} {own} {sizes}", formula=formula,
            window=window, chunk=mixer.chunk,
        )
    ]  # fmt: skip


def _latent(model: Model, index: int, mixer: Mixer, dtype: str, block: int, rules: EngineRules) -> list[CacheSpec]:
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


def _context(model: Model) -> int | None:
    value = model.card.context.value
    return int(value) if value is not None else None
