"""FLOPs and bytes of one step, part by part, on one device: linear in the step's shape once the model is laid out.

In: a model, a layout, how it is served. Out: `Work`, whose `step(...)` gives every part's FLOPs, bytes read and
bytes sent
for any batch, number of new tokens and context; its arguments may be numbers or numpy arrays. A product of an m x k
by a
k x n matrix counts 2mkn. Attention is causal unless asked otherwise: half of the square in a prefill, as computed by
fused kernels; `causal=False` counts the full square, as torch's FlopCounterMode sees it.
Longer than 250 lines: a part's record and its formula are read together.
"""

from __future__ import annotations

from math import prod
from typing import Any

from seatrial.checkpoint.attention import Mixer
from seatrial.core.record import Record
from seatrial.estimate.encoders import keeps_no_cache
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.indexers import without_indexer
from seatrial.estimate.kv_latent import as_cached
from seatrial.estimate.kv_layers import crosses, kv_cache
from seatrial.estimate.kv_sizes import element_bytes, head_bytes, kv_heads_on_rank, latent_bytes
from seatrial.estimate.kv_states import state_bytes
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.matrices import Matrix
from seatrial.estimate.matrices_whisper import encoder_tokens
from seatrial.estimate.model import Model, NotModelled, altered, need
from seatrial.estimate.schemes import Schemes
from seatrial.estimate.storage import bytes_on_rank, cut
from seatrial.estimate.weights import check_heads, matrices

Number = Any  # a number or a numpy array: the formulas below only add, multiply, divide and raise to powers
SSD_CHUNK = 256  # of Mamba 2 where config.json states none (transformers' default)
CHUNK = 64  # tokens per chunk of the chunked delta rule (transformers and flash-linear-attention)


class Linear(Record):
    """Projections of one part: per token `flops` and `moved` bytes (inputs and outputs); `weights` bytes read once."""

    part: str
    kind: str
    flops: float
    weights: float
    moved: float
    precision: str


class Experts(Record):
    """Routed experts on a rank: `experts` of `all_experts` here, each `flops` per token that comes to it."""

    all_experts: int
    per_token: int
    here: float
    flops: float
    expert_bytes: float
    moved: float
    layers: int
    precision: str


class Mixing(Record):
    """The attention proper of `layers` equal layers on a rank, per query token and key it sees.

    `encoder`: so many keys of an encoder are seen instead, by every query and without growing.
    `absorbed_*` where a decode step works on the latent itself. `kv_bytes` are read per key, once for all heads of a
    sequence; `topk` keys at most where a sparse indexer chooses; `fixed_*` per token for recurrent layers, as they
    are chunked in a prefill, and as a counter of all pairs sees that (`counted_flops`, not causal).
    """

    part: str
    kind: str
    layers: int
    pair_flops: float
    absorbed_pair_flops: float
    kv_bytes: float
    window: int = 0
    chunk: int = 0
    topk: int = 0
    encoder: int = 0
    index_pair_flops: float = 0
    index_bytes: float = 0
    fixed_flops: float = 0
    chunked_flops: float = 0
    counted_flops: float = 0
    state_bytes: float = 0


class Part(Record):
    """What one part of a step costs one device. FLOPs, bytes from and to memory, bytes on the wire."""

    part: str
    flops: Number
    weight_bytes: Number
    cache_bytes: Number
    moved_bytes: Number
    wire_bytes: Number
    precision: str


class Work(Record):
    """A model laid out, ready to be asked. `hidden` and `size` describe the activations that are sent around."""

    layout: Layout
    linears: tuple[Linear, ...]
    experts: tuple[Experts, ...]
    mixings: tuple[Mixing, ...]
    hidden: int
    vocabulary: int
    size: int
    layers: int
    sums_per_layer: int
    sparse_layers: int
    per_token: int

    def step(
        self, batch: Number, new: Number, context: Number, *, causal: bool = True, decode: bool = False,
        all_logits: bool = False,
    ) -> tuple[Part, ...]:  # fmt: skip
        """`batch` sequences, each with `new` tokens after `context` cached ones; `decode` uses absorbed MLA."""
        tokens = batch * new
        rows = tokens if all_logits else batch * (new if decode else 1)
        parts = [self._linear(x, rows if x.part == "head" else tokens) for x in self.linears]
        parts += [self._experts(x, tokens) for x in self.experts]
        parts += [_mixing(x, batch, new, context, causal, decode) for x in self.mixings]
        return (*parts, *self._wire(tokens, rows))

    def _linear(self, x: Linear, tokens: Number) -> Part:
        return Part(
            part=f"{x.part}", flops=x.flops * tokens, weight_bytes=x.weights, cache_bytes=0,
            moved_bytes=x.moved * tokens, wire_bytes=0, precision=x.precision,
        )  # fmt: skip

    def _experts(self, x: Experts, tokens: Number) -> Part:
        """Expected distinct experts under uniform routing: E (1 - (1 - k/E)^N). Tokens of all replicas come here."""
        tokens = tokens * self.layout.dp
        share = x.here / x.all_experts
        distinct = x.here * (1 - (1 - x.per_token / x.all_experts) ** tokens)
        return Part(
            part="experts", flops=x.flops * tokens * x.per_token * share, weight_bytes=x.expert_bytes * distinct,
            cache_bytes=0, moved_bytes=x.moved * tokens * x.per_token * share, wire_bytes=0, precision=x.precision,
        )  # fmt: skip

    def _wire(self, tokens: Number, rows: Number) -> list[Part]:
        """Ring all-reduce: 2 (n-1)/n of the data per device; a stage hands on once. Replicas exchange their tokens for
        the experts: with expert parallelism each chosen one once out and back, else all of them gathered and
        scattered."""
        tp, dp, ranks = self.layout.tp, self.layout.dp, self.layout.expert_ranks()
        made: list[Part] = []

        def sent(name: str, amount: Number) -> None:
            made.append(
                Part(part=name, flops=0, weight_bytes=0, cache_bytes=0, moved_bytes=0, wire_bytes=amount, precision="")
            )

        if tp > 1:
            data = tokens * self.hidden * self.size
            sent("all-reduce (TP)", self.sums_per_layer * data * 2 * (tp - 1) / tp)
            sent("logits gather (TP)", rows * self.vocabulary * self.size * (tp - 1) / tp)
        if dp > 1 and self.sparse_layers:
            data = tokens / tp * self.hidden * self.size
            if self.layout.ep:
                sent("all-to-all (EP)", self.sparse_layers * 2 * data * self.per_token * (ranks - 1) / ranks)
            else:
                sent("gather and scatter (DP)", self.sparse_layers * 2 * data * tp * (dp - 1))
        if self.layout.pp > 1:
            sent("stage hand-over (PP)", tokens * self.hidden * self.size)
        return made


def _mixing(x: Mixing, batch: Number, new: Number, context: Number, causal: bool, decode: bool) -> Part:
    if x.kind == "state":
        fixed = x.fixed_flops if decode else x.chunked_flops if causal else x.counted_flops
        return Part(
            part=x.part,
            flops=x.layers * fixed * batch * new,
            weight_bytes=0,
            moved_bytes=0,
            wire_bytes=0,
            precision="bf16",
            cache_bytes=x.layers * 2 * x.state_bytes * batch,
        )
    if x.encoder:
        # The encoder's keys are written by the prefill's own part, and read by every step.
        return Part(
            part=x.part, flops=x.layers * x.pair_flops * batch * new * x.encoder, weight_bytes=0, moved_bytes=0,
            wire_bytes=0, precision="bf16", cache_bytes=x.layers * batch * x.kv_bytes * x.encoder,
        )  # fmt: skip
    every = _pairs(new, context, 0, 0, causal)
    pairs = _pairs(new, context, x.window, x.chunk, causal)
    keys = context + new
    if x.topk:
        pairs = _pairs(new, context, x.topk, 0, causal)
    flops = (x.absorbed_pair_flops if decode else x.pair_flops) * pairs + x.index_pair_flops * every
    read = _least(keys, x.window + new) if x.window else _least(keys, x.chunk + 0 * keys) if x.chunk else keys
    if x.topk:
        read = _least(keys, x.topk * new)
    stored = (x.kv_bytes + x.index_bytes) * new
    return Part(
        part=x.part, flops=x.layers * flops * batch, weight_bytes=0, moved_bytes=0, wire_bytes=0, precision="bf16",
        cache_bytes=x.layers * batch * (x.kv_bytes * read + x.index_bytes * keys + stored),
    )  # fmt: skip


def _least(a: Number, b: Number) -> Number:
    """The smaller, for numbers and arrays alike."""
    return (a + b - abs(a - b)) / 2


def _pairs(new: Number, context: Number, window: int, chunk: int, causal: bool) -> Number:
    """How many (query, key) pairs `new` queries after `context` keys see, in one sequence."""
    if not causal:
        return new * (context + new)
    if window:
        growing = _least(new, window - _least(context, window + 0 * context))
        return growing * context + growing * (growing + 1) / 2 + (new - growing) * window
    if chunk:
        return _chunked(context + new, chunk) - _chunked(context, chunk)
    return new * context + new * (new + 1) / 2


def _chunked(tokens: Number, chunk: int) -> Number:
    """Pairs that the first `tokens` queries see when attention restarts every `chunk` tokens."""
    rest = tokens % chunk
    return tokens // chunk * (chunk * (chunk + 1) / 2) + rest * (rest + 1) / 2


PRECISION = {"fp8-block": "fp8", "fp8-tensor": "fp8", "nvfp4": "fp4"}


def lay_out(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> Work:
    """Prepare. With pipeline parallelism the figures are those of all stages together. Raises Lacking, NotModelled,
    Uneven.
    """
    if none := keeps_no_cache(model):
        raise NotModelled(f"steps of a model that generates nothing ({none})")
    check_heads(model, layout.tp)
    schemes = Schemes(model)
    size = model.dtype_bytes()
    linears: dict[tuple[str, str], list[float]] = {}
    experts: dict[str, list[float]] = {}
    for matrix in matrices(model, layout.tp, language_only=True):
        tied_head = matrix.module == "embed_tokens" and bool(model.card.architecture.tied_embeddings)
        if matrix.tokens in ("none", "image") and not tied_head:
            continue
        for precision, count, scheme in _by_scheme(matrix, schemes):
            part = cut(matrix, layout, scheme)
            rows = sum(part.rows)
            weight = bytes_on_rank(matrix, layout, scheme, size)
            row = [2.0 * rows * part.cols * count, float(weight * count), float((rows + part.cols) * size * count)]
            if matrix.tokens == "experts":
                row[1] /= max(1, part.experts)
                _add(experts.setdefault(precision, [0.0, 0.0, 0.0]), row)
            else:
                part_name = "head" if tied_head else matrix.part
                _add(linears.setdefault((part_name, precision), [0.0, 0.0, 0.0]), row)
    moe = model.card.feed_forward.moe
    sparse = sum("moe" in k for k in model.card.feed_forward.pattern)
    made = [
        Linear(part=part, kind="linear", flops=r[0], weights=r[1], moved=r[2], precision=precision)
        for (part, precision), r in linears.items()
    ]
    routed = []
    if moe is not None and experts:
        here = moe.experts / layout.expert_ranks()
        per_token = need(moe.experts_per_token, "num_experts_per_tok")
        routed = [
            Experts(
                all_experts=moe.experts, per_token=per_token, here=here, flops=r[0], expert_bytes=r[1], moved=r[2],
                layers=sparse, precision=precision,
            )
            for precision, r in experts.items()
        ]  # fmt: skip
    pattern = model.card.feed_forward.pattern
    mixers = model.card.attention.mixers
    sums = sum(mixers[m].kind != "none" for m in model.card.attention.pattern) + sum(k != "none" for k in pattern)
    return Work(
        layout=layout, linears=tuple(made), experts=tuple(routed), mixings=_mixings(model, layout, serving, rules),
        hidden=model.hidden(), vocabulary=model.vocabulary(), size=size, layers=model.layers(), sums_per_layer=sums,
        sparse_layers=sparse, per_token=(moe.experts_per_token or 0) if moe else 0,
    )  # fmt: skip


def _add(total: list[float], row: list[float]) -> None:
    for i, value in enumerate(row):
        total[i] += value


def _by_scheme(matrix: Matrix, schemes: Schemes) -> list[tuple[str, int, Any]]:
    found: dict[str, list[Any]] = {}
    for layer in matrix.layers or (0,):
        scheme = schemes.of(matrix, layer)
        entry = found.setdefault(scheme.format, [scheme, 0])
        entry[1] += 1
    return [(PRECISION.get(form, "bf16"), count, scheme) for form, (scheme, count) in found.items()]


def _mixings(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> tuple[Mixing, ...]:
    attention = model.card.attention
    dtype = kv_cache(model, layout, serving, rules).dtype
    made = []
    for i, plain in enumerate(attention.mixers):
        layers, mixer = attention.count(i), as_cached(model, plain)
        if mixer.kind == "none" or not layers:
            continue
        for part in mixer.parts():
            if part.state is not None:
                made.append(_recurrent(model, part, layers, layout, serving, rules))
        if mixer.state is not None and not mixer.beside:
            continue
        if mixer.kind == "MLA" and mixer.kv_lora_rank:
            made.append(_latent(model, mixer, layers, layout, dtype, rules))
        elif mixer.kind in ("GQA", "MQA", "MHA"):
            dim = need(mixer.head_dim, "head_dim")
            dim_v = mixer.value_head_dim or dim
            heads = need(mixer.heads, "num_attention_heads") / layout.tp
            kv = kv_heads_on_rank(need(mixer.kv_heads, "num_key_value_heads"), layout.tp)
            # (V that is padded in the cache is none the wider for what must be computed.)
            pair = 2 * heads * (dim + (plain.value_head_dim or dim_v))
            made.append(
                Mixing(
                    part="attention core", kind="pairs", layers=layers, pair_flops=pair, absorbed_pair_flops=pair,
                    kv_bytes=head_bytes(model, dtype, kv, dim, dim_v), window=mixer.window or 0, chunk=mixer.chunk or 0,
                )
            )  # fmt: skip
        else:
            raise NotModelled(f"the FLOPs of a layer of kind {mixer.short()!r}")
    if crosses(model):
        made += [
            altered(m, part="cross-attention core", encoder=encoder_tokens(model), window=0, chunk=0)
            for m in made
            if m.kind == "pairs"
        ]
    return tuple(made)


def _latent(model: Model, mixer: Mixer, layers: int, layout: Layout, dtype: str, rules: EngineRules) -> Mixing:
    heads = need(mixer.heads, "num_attention_heads") / layout.tp
    rank, rope = need(mixer.kv_lora_rank, "kv_lora_rank"), need(mixer.rope_dim, "qk_rope_head_dim")
    nope, value = need(mixer.nope_dim, "qk_nope_head_dim"), need(mixer.value_head_dim, "v_head_dim")
    index = model.card.attention
    topk = mixer.index_topk or 0
    # Layers that use an earlier layer's choice have no indexer: what it costs is shared out over all.
    own = 1 - len(without_indexer(model)) / model.layers() if topk else 0.0
    dim = index.index_head_dim or 0
    key = dim * element_bytes(model, dtype) if rules.keys_in_latent else dim + dim // 128 * 4
    index_flops = own * 2.0 * (index.index_heads or 0) * (index.index_head_dim or 0) if topk else 0.0
    return Mixing(
        part="attention core", kind="pairs", layers=layers, pair_flops=2 * heads * (nope + rope + value),
        absorbed_pair_flops=2 * heads * (rank + rope + rank), kv_bytes=latent_bytes(model, dtype, mixer, rules),
        topk=topk,
        index_pair_flops=index_flops,
        index_bytes=int(own * key),
    )  # fmt: skip


def _recurrent(model: Model, mixer: Mixer, layers: int, layout: Layout, serving: Serving, rules: EngineRules) -> Mixing:
    """Gated delta rule: per token and head 6 dk dv (read, write, query) token by token; in chunks of C tokens also
    2 C (3 dk + 2 dv) for what is within a chunk. Mamba 2: 6 times the state per token at least; as its chunked form
    is counted (transformers' `torch_forward`, all pairs within a chunk, each head by itself), per token and head
    4 N P + 2 C (N + P) for a state of N and a head of P."""
    state = mixer.state
    if state is None or state.recurrent is None:
        raise NotModelled(f"the FLOPs of a layer of kind {mixer.kind!r}")
    heads = state.recurrent[0] / layout.tp
    inner, outer = state.recurrent[1], state.recurrent[-1]
    fixed = 6.0 * prod(state.recurrent) / layout.tp
    chunked = fixed
    if mixer.kind == "gated-deltanet":
        chunked = fixed + heads * 2.0 * CHUNK * (3 * outer + 2 * inner)
    counted = chunked
    if mixer.kind == "mamba2":
        within = 2.0 * (state.chunk or SSD_CHUNK) * (inner + outer)
        counted = heads * (4.0 * inner * outer + within)
    return Mixing(
        part="linear-attention core", kind="state", layers=layers, pair_flops=0, absorbed_pair_flops=0, kv_bytes=0,
        fixed_flops=fixed, chunked_flops=chunked, counted_flops=counted,
        state_bytes=state_bytes(model, mixer, layout.tp, serving, rules),
    )  # fmt: skip


__all__ = ["Part", "Work", "element_bytes", "lay_out"]
