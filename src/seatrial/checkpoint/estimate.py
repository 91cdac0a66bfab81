"""Parameters from config.json alone, part by part, each with its formula.

In: the translated config. Out: `Parameters` whose `formula` lines add up to the total. The shapes are those of the
model classes in transformers and vLLM; V vocabulary, H hidden, I intermediate, E experts; heads x head size.
Unknown parts make the whole unknown: an estimate that leaves something out would look like a small model.

Longer than 250 lines: one formula for each kind of part, to be read side by side.
"""

from __future__ import annotations

import msgspec

from seatrial.checkpoint.architecture import Architecture
from seatrial.checkpoint.attention import Attention, Mixer
from seatrial.checkpoint.config import View
from seatrial.checkpoint.moe import FeedForward
from seatrial.checkpoint.multimodal import Multimodal, Tower
from seatrial.checkpoint.params import Parameters, nothing
from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.core.record import Record

FAR = "estimated from config.json; MTP layers apart"


# By model_type: what these have beside layers of one mixer and one feed-forward part, or instead of them.
OTHER_FORM = {
    "hrm_text": "HRM's two stacks of layers",
    "longcat_flash": "LongCat's layers of two attentions and two dense parts beside the experts",
    "whisper": "Whisper's encoder and cross-attention",
    "zamba2": "Zamba 2's shared attention blocks",
}


class Term(Record):
    """One part of the sum. `active`: what one token passes of it."""

    what: str
    total: int
    active: int
    tower: bool = False

    def line(self) -> str:
        return f"{self.what} = {self.total:,}"


class Unknown(Record):
    """Why no estimate can be made."""

    why: str


def estimate(
    frame: Architecture, attention: Attention, ffn: FeedForward, media: Multimodal | None, declared: int, text: View
) -> Parameters:
    """Add up; unknown with the reason where a part is. `declared` MTP layers get a sum of their own."""
    hidden, vocabulary, layers = frame.hidden_size, frame.vocab_size, frame.layers
    if why := OTHER_FORM.get(frame.text_model_type or frame.model_type or ""):
        return nothing(f"no formula for {why}")
    if not hidden or not vocabulary or not layers:
        return nothing("config.json does not state hidden size, vocabulary and layers")
    terms = [Term(what=f"embedding V*H = {vocabulary}*{hidden}", total=vocabulary * hidden, active=vocabulary * hidden)]
    if frame.tied_embeddings is not True:
        guess = " (tie_word_embeddings not stated)" if frame.tied_embeddings is None else ""
        terms.append(Term(what=f"head V*H{guess}", total=vocabulary * hidden, active=vocabulary * hidden))
    for i, whole in enumerate(attention.mixers):
        count = attention.count(i)
        for mixer in whole.parts():
            part = _mixer(mixer, attention, frame, text)
            if isinstance(part, Unknown):
                return nothing(part.why)
            if part.total:
                what = f"{count} x {mixer.short()}: {part.what}"
                terms.append(Term(what=what, total=count * part.total, active=count * part.total))
    feed = _feed_forward(ffn, hidden, text)
    if isinstance(feed, Unknown):
        return nothing(feed.why)
    terms += feed
    if text.whole("architecture.per_layer_input", "hidden_size_per_layer_input"):
        return nothing("no formula for per-layer embeddings (hidden_size_per_layer_input)")
    norms = _norms(frame, attention, ffn)
    terms.append(Term(what="norms", total=norms, active=norms))
    if extra := _hyper_connections(text, hidden, layers):
        terms.append(extra)
    mtp = mtp_quantity(_mtp_layer(attention, ffn, frame, text), declared)
    for tower in media.towers if media else ():
        part = _tower(tower)
        if isinstance(part, Unknown):
            return _sum(terms, mtp, part.why)
        terms.append(part)
    return _sum(terms, mtp, "")


def mtp_quantity(layer: int | None, declared: int) -> Quantity:
    """What the declared MTP layers take, without copies of embedding and head that some checkpoints add."""
    if not declared:
        return Quantity(value=0, unit="parameters", source=Source.DERIVED, note="no MTP layers are declared")
    if layer is None:
        return unknown("parameters", "no formula for this model's MTP layers")
    note = f"{declared} x (a layer like the last one + 2*H*H); copies of embedding and head not counted"
    return Quantity(value=declared * layer, unit="parameters", source=Source.DERIVED, note=note)


def _mtp_layer(attention: Attention, ffn: FeedForward, frame: Architecture, text: View) -> int | None:
    """An MTP layer is one more attention layer with the last layer's feed-forward part, and a projection."""
    hidden = frame.hidden_size or 0
    proper = [m for m in attention.mixers if m.kind in ("GQA", "MHA", "MQA", "MLA")]
    if not proper or not ffn.pattern or "none" in ffn.pattern or any(m.kind == "none" for m in attention.mixers):
        return None
    mixer = _mixer(proper[-1], attention, frame, text)
    last = msgspec.structs.replace(ffn, pattern=ffn.pattern[-1:], sizes=ffn.sizes[-1:])  # type: ignore[type-var]
    feed = _feed_forward(last, hidden, text)
    if isinstance(mixer, Unknown) or isinstance(feed, Unknown):
        return None
    return mixer.total + sum(t.total for t in feed) + 2 * hidden * hidden


def _sum(terms: list[Term], mtp: Quantity, why: str) -> Parameters:
    """`why`: the towers are unknown, so only the language model's figures can be given."""
    language = sum(t.total for t in terms if not t.tower)
    total = sum(t.total for t in terms)
    return Parameters(
        stored=unknown("elements", "there are no shards"),
        total=unknown("parameters", why) if why else Quantity(
            value=total, unit="parameters", source=Source.DERIVED, note=FAR
        ),
        language=Quantity(value=language, unit="parameters", source=Source.DERIVED, note=FAR),
        active=Quantity(
            value=sum(t.active for t in terms if not t.tower), unit="parameters", source=Source.DERIVED, note=FAR
        ),
        mtp=mtp,
        formula=tuple(t.line() for t in terms),
    )  # fmt: skip


def _mixer(mixer: Mixer, attention: Attention, frame: Architecture, text: View) -> Term | Unknown:
    hidden = frame.hidden_size or 0
    if mixer.kind == "none":
        return Term(what="", total=0, active=0)
    if mixer.kind == "MLA" and mixer.kv_lora_rank is None:
        return _compressed(mixer, attention, hidden, text)
    if mixer.kind == "MLA":
        return _latent(mixer, attention, hidden)
    if mixer.kind in ("GQA", "MQA", "MHA"):
        return _heads(mixer, attention, hidden, text)
    if mixer.kind == "gated-deltanet":
        return _delta_net(mixer, hidden)
    if mixer.kind == "mamba2":
        return _mamba2(mixer, hidden)
    return Unknown(why=f"no formula for layers of kind {mixer.kind}")


def _heads(mixer: Mixer, attention: Attention, hidden: int, text: View) -> Term | Unknown:
    n, k, d = mixer.heads, mixer.kv_heads, mixer.head_dim
    if not n or not k or not d:
        return Unknown(why="the number or the size of the heads is unknown")
    v = mixer.value_head_dim or d
    q = hidden * n * d * (2 if attention.output_gate else 1)
    # Gemma 4: the full layers' values are their keys (attention_k_eq_v).
    same = text.flag("attention.values_are_keys", "attention_k_eq_v") and mixer.window is None
    total = q + hidden * k * d + (0 if same else hidden * k * v) + n * v * hidden
    if attention.bias:
        total += n * d + k * d + k * v + (hidden if str(text.data.get("model_type")) == "gpt_oss" else 0)
    if attention.qk_norm == "per head":
        total += 2 * d
    elif attention.qk_norm == "whole":
        total += (n + k) * d
    if attention.sinks:
        total += n
    gate = "2*" if attention.output_gate else ""
    return Term(what=f"{gate}H*{n}*{d} + {'1' if same else '2'}*H*{k}*{d} + {n}*{v}*H", total=total, active=total)


def _latent(mixer: Mixer, attention: Attention, hidden: int) -> Term | Unknown:
    """DeepSeek's MLA: low-rank q (or a plain one), latent kv with the shared rope part; with DSA its indexer."""
    n, rank, nope, rope, v = mixer.heads, mixer.kv_lora_rank, mixer.nope_dim, mixer.rope_dim, mixer.value_head_dim
    if not n or not rank or nope is None or rope is None or not v:
        return Unknown(why="a size of the latent attention is unknown")
    q_rank = mixer.q_lora_rank
    q = hidden * q_rank + q_rank + q_rank * n * (nope + rope) if q_rank else hidden * n * (nope + rope)
    total = q + hidden * (rank + rope) + rank + rank * n * (nope + v) + n * v * hidden
    what = f"q {q_rank or 'full'}, H*({rank}+{rope}) + {rank}*{n}*({nope}+{v}) + {n}*{v}*H"
    if mixer.index_topk and attention.index_heads and attention.index_head_dim:
        heads, dim = attention.index_heads, attention.index_head_dim
        total += (q_rank or hidden) * heads * dim + hidden * dim + 2 * dim + hidden * heads
        what += f" + indexer {heads}*{dim}"
    return Term(what=what, total=total, active=total)


def _compressed(mixer: Mixer, attention: Attention, hidden: int, text: View) -> Term | Unknown:
    """DeepSeek-V4: low-rank q, one KV head, grouped low-rank output; compressor and indexer where it compresses."""
    n, d, q_rank = mixer.heads, mixer.head_dim, mixer.q_lora_rank
    groups = text.whole("attention.output_groups", "o_groups", least=1)
    o_rank = text.whole("attention.output_lora_rank", "o_lora_rank", least=1)
    if not n or not d or not q_rank or not groups or not o_rank:
        return Unknown(why="a size of the compressed attention is unknown")
    total = hidden * q_rank + q_rank + q_rank * n * d + hidden * d + d + n
    total += n * d * o_rank + groups * o_rank * hidden
    what = f"q {q_rank}, H*{d}, {n}*{d}*{o_rank} + {groups}*{o_rank}*H"
    if ratio := mixer.compress_ratio:
        twice = 2 if ratio == 4 else 1  # overlapping windows need two sets (vLLM: Compressor.coff)
        total += 2 * hidden * twice * d + ratio * twice * d + d
        what += " + compressor"
    if mixer.index_topk and attention.index_heads and attention.index_head_dim:
        heads, dim = attention.index_heads, attention.index_head_dim
        total += q_rank * heads * dim + hidden * heads + 2 * hidden * 2 * dim + 4 * 2 * dim + dim
        what += " + indexer"
    return Term(what=what, total=total, active=total)


def _delta_net(mixer: Mixer, hidden: int) -> Term | Unknown:
    """Gated DeltaNet (Qwen3-Next, Qwen3.5): q, k, v, z and the two gates in, a short convolution, out."""
    s = mixer.state
    if s is None or not (s.heads and s.head_dim and s.key_heads and s.key_dim and s.kernel):
        return Unknown(why="a size of the linear attention is unknown")
    key, value = s.key_heads * s.key_dim, s.heads * s.head_dim
    total = hidden * (2 * key + 2 * value) + hidden * 2 * s.heads + (2 * key + value) * s.kernel
    total += 2 * s.heads + s.head_dim + value * hidden
    return Term(what=f"H*(2*{key}+2*{value}+2*{s.heads}) + conv + {value}*H", total=total, active=total)


def _mamba2(mixer: Mixer, hidden: int) -> Term | Unknown:
    """Mamba-2: z, x, B, C, dt in, a short convolution with bias, out."""
    s = mixer.state
    if s is None or not (s.heads and s.head_dim and s.state_size and s.groups and s.kernel):
        return Unknown(why="a size of the Mamba layers is unknown")
    inner, shared = s.heads * s.head_dim, 2 * s.groups * s.state_size
    total = hidden * (2 * inner + shared + s.heads) + (inner + shared) * (s.kernel + 1) + 3 * s.heads + inner
    total += inner * hidden
    return Term(what=f"H*(2*{inner}+{shared}+{s.heads}) + conv + {inner}*H", total=total, active=total)


def _feed_forward(ffn: FeedForward, hidden: int, text: View) -> list[Term] | Unknown:
    matrices = 3 if ffn.gated else 2
    terms: list[Term] = []
    for size in sorted({s for s in ffn.sizes if s}):
        count = ffn.sizes.count(size)
        total = count * matrices * hidden * size
        terms.append(Term(what=f"{count} x MLP {matrices}*H*{size}", total=total, active=total))
    if any("dense" in k and not s for k, s in zip(ffn.pattern, ffn.sizes, strict=True)):
        return Unknown(why="the intermediate size of the dense layers is unknown")
    moe = ffn.moe
    if moe is None:
        return terms
    if not moe.intermediate_size or not moe.experts_per_token:
        return Unknown(why="the experts' size or their number per token is unknown")
    count = sum("moe" in kind for kind in ffn.pattern)
    width = moe.latent_size or hidden
    # gpt-oss: biases on both projections of an expert.
    bias = 2 * moe.intermediate_size + hidden if str(text.data.get("model_type")) == "gpt_oss" else 0
    expert = matrices * width * moe.intermediate_size + bias
    biased = moe.topk_method == "noaux_tc" or moe.scoring == "sigmoid" or text.flag("moe.bias", "use_routing_bias")
    biased = biased or str(text.data.get("model_type")) in ("gpt_oss", "nemotron_h")
    router = hidden * moe.experts + (moe.experts if biased else 0)
    terms.append(
        Term(
            what=f"{count} x {moe.experts} experts {matrices}*{width}*{moe.intermediate_size}",
            total=count * moe.experts * expert,
            active=count * moe.experts_per_token * expert,
        )
    )
    rest = router + (2 * hidden * moe.latent_size if moe.latent_size else 0)
    rest += _shared(ffn, hidden, text) * matrices * hidden
    terms.append(Term(what=f"{count} x router and shared experts", total=count * rest, active=count * rest))
    return terms


def _shared(ffn: FeedForward, hidden: int, text: View) -> int:
    """Width of the shared experts together. Llama 4 always has one, of the experts' size."""
    moe = ffn.moe
    if moe is None:
        return 0
    if moe.shared_intermediate_size is not None:
        return moe.shared_intermediate_size * max(moe.shared_experts or 1, 1)
    if moe.shared_experts:
        return moe.shared_experts * (moe.intermediate_size or 0)
    return (moe.intermediate_size or 0) if str(text.data.get("model_type")).startswith("llama4") else 0


def _norms(frame: Architecture, attention: Attention, ffn: FeedForward) -> int:
    """One before each mixer and each feed-forward part, and one at the end (Gemma has two more of each)."""
    hidden = frame.hidden_size or 0
    mixers = sum(attention.mixers[i].kind != "none" for i in attention.pattern)
    feeds = sum(kind != "none" for kind in ffn.pattern)
    more = 2 if str(frame.text_model_type).startswith("gemma") else 1
    return (more * (mixers + feeds) + 1) * hidden


def _hyper_connections(text: View, hidden: int, layers: int) -> Term | None:
    """DeepSeek-V4's hyper-connections: two mixers of (2+m)*m by m*H for each layer, one at the end."""
    m = text.whole("architecture.hyper_connections", "hc_mult", least=1, most=1000)
    if not m:
        return None
    mix = (2 + m) * m
    total = layers * 2 * (mix * m * hidden + mix + 3) + m * m * hidden + m + 1
    return Term(what=f"hyper-connections, {m} streams", total=total, active=total)


def _tower(tower: Tower) -> Term | Unknown:
    """A vision transformer with its merger; exact enough beside the language model (about one part in a hundred)."""
    h, i, n = tower.hidden_size, tower.intermediate_size, tower.layers
    if tower.kind != "vision" or not h or not i or not n or not tower.patch_size:
        return Unknown(why=f"no formula for the {tower.kind} tower")
    layer = 4 * h * h + 4 * h + 2 * h * i + h + i + 4 * h
    if "gemma" in (tower.model_type or ""):
        layer += h * i  # a gated MLP
    patches = 3 * (tower.temporal_patch_size or 1) * tower.patch_size**2 * h
    merged = h * (tower.merge or 1) ** 2
    merger = merged * merged + merged * tower.output_size if tower.output_size else 0
    # Qwen3-VL feeds the outputs of some inner layers on too, each through a merger of its own.
    total = n * layer + patches + merger * (1 + tower.inner_outputs) + (tower.positions or 0) * h
    return Term(what=f"vision tower {n} x (4*{h}^2 + 2*{h}*{i}) + patches + merger", total=total, active=0, tower=True)
