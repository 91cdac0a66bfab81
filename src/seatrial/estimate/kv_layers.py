"""The KV cache of every layer on one rank, as the engine would specify it: kind, tokens per block, bytes per block.

In: a model, a layout, how it is served, the engine's rules. Out: one `CacheSpec` per layer that keeps a cache. The
formulas are those of vLLM 0.32's `get_kv_cache_spec` methods; `bench/plan_engine.py` compares each with the engine's.
Two figures per layer: `page`, what the engine allocates for a block, and `content`, what the formula alone needs. Sizes
of a token are in kv_sizes, states in kv_states, MLA in kv_latent, families of an own layout in kv_compressed, kv_sconv.
"""

from __future__ import annotations

from seatrial.checkpoint.attention import Mixer
from seatrial.checkpoint.config import MOST_LAYERS
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.estimate.draft import draft_layers, draft_mixer
from seatrial.estimate.encoders import keeps_no_cache
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.kv_compressed import compressed_cache, is_compressed
from seatrial.estimate.kv_latent import as_cached, latent_specs
from seatrial.estimate.kv_sconv import sconv_cache
from seatrial.estimate.kv_sizes import C8, cache_dtype, head_bytes, kv_heads_on_rank
from seatrial.estimate.kv_specs import NOT_COUNTED, CacheSpec, Kind, KvCache
from seatrial.estimate.kv_states import HEADS, align, state_bytes, state_shapes
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Lacking, Model, NotModelled, need

# Tokens between two kept states of a model without any attention: the engine's default block size, taken before the
# platform chooses its own (vLLM 0.32, models/config.py).
STATE_BLOCK = 16
# Families whose window is one token longer in the engine than in config.json (commandr.py, cohere2_moe.py).
ONE_MORE = ("cohere2", "cohere2_moe")


def kv_cache(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> KvCache:
    """All layers of the language model; raises Lacking or NotModelled."""
    attention = model.card.attention
    if none := keeps_no_cache(model):
        told = check_block(serving, rules, False)
        block = serving.block_size or rules.block
        return KvCache(specs=(), block=block, state_aligned=False, dtype=serving.kv_dtype, notes=(*told, none))
    if model.kind() == "inkling_text":
        return sconv_cache(model, layout, serving, rules)
    if is_compressed(model):
        return compressed_cache(model, layout, serving, rules)
    if not attention.pattern:
        raise Lacking("num_attention_heads", "config.json does not say what the layers' attention is")
    mixers = [as_cached(model, m) for m in attention.mixers]
    kinds = own_layers(model, mixers)
    crossed = crosses(model)
    dtype = cache_dtype(model, serving, rules)
    mla = any(m.kind == "MLA" for m in kinds)
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
        block, padded = align(model, kinds, dtype, layout.tp, block, max(states), mla, rules)
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
        notes += (NOT_COUNTED,)
    return KvCache(specs=tuple(specs), block=block, state_aligned=aligned, dtype=dtype, notes=(*told, *notes))


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
        return latent_specs(model, index, mixer, dtype, block, rules)
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


def _context(model: Model) -> int | None:
    value = model.card.context.value
    return int(value) if value is not None else None
