"""Attention (or what stands in its place) of every layer, from the config's fields.

In: the config's sections. Out: `Attention`: the distinct mixers and, per layer, which one it is. The rules are those of
transformers' configuration classes and vLLM's model files; `layers.py` holds the rules that say which layer is which.

Longer than 250 lines: the one translation of the attention fields, whose rules refer to each other.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from seatrial.checkpoint.codes import note
from seatrial.checkpoint.config import MOST_LAYERS, Sections, View
from seatrial.checkpoint.layers import mixer_words
from seatrial.checkpoint.model_codes import HEADS
from seatrial.checkpoint.rope import Rope, read_rope
from seatrial.checkpoint.state import State, read_state
from seatrial.core.record import Record


class Mixer(Record):
    """One way a layer mixes tokens.

    `kind`: MHA, GQA or MQA by heads; MLA (latent KV of `kv_lora_rank` + `rope_dim`, or one compressed head of
    `head_dim`); "gated-deltanet", "kda", "mamba", "mamba2", "linear", "conv", "recurrent" keep a `state` instead of a
    KV cache; "none" mixes nothing. `window` and `chunk` in tokens; `index_topk` tokens are picked by a sparse indexer;
    `compress_ratio` tokens share one cache entry. `beside`: the kind of a second mixer of the same layer, whose state
    `state` then is (Falcon H1). Sizes in elements.
    """

    kind: str
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_head_dim: int | None = None
    q_lora_rank: int | None = None
    kv_lora_rank: int | None = None
    nope_dim: int | None = None
    rope_dim: int | None = None
    window: int | None = None
    chunk: int | None = None
    index_topk: int | None = None
    compress_ratio: int | None = None
    state: State | None = None
    beside: str = ""

    def parts(self) -> tuple[Mixer, ...]:
        """The layer's mixers one by one: itself, or attention and what runs beside it."""
        if not self.beside:
            return (self,)
        alone = msgspec.structs.replace(self, state=None, beside="")  # type: ignore[type-var]
        return alone, Mixer(kind=self.beside, state=self.state)

    def short(self) -> str:
        """For one line: `GQA 32/8`, `MLA 512+64 sparse`, `mamba2`."""
        if self.kind in ("GQA", "MQA", "MHA"):
            text = f"{self.kind} {self.heads}/{self.kv_heads}"
        elif self.kind == "MLA" and self.kv_lora_rank:
            text = f"MLA {self.kv_lora_rank}+{self.rope_dim}"
        else:
            text = self.kind
        extra = [
            f"window {self.window}" if self.window else "",
            f"chunk {self.chunk}" if self.chunk else "",
            f"sparse top-{self.index_topk}" if self.index_topk else "",
            f"compressed {self.compress_ratio}:1" if self.compress_ratio else "",
            f"beside {self.beside}" if self.beside else "",
        ]
        return " ".join([text, *filter(None, extra)])


class Attention(Record):
    """`pattern[i]` is the index into `mixers` of layer i; empty where the layers are unknown."""

    mixers: tuple[Mixer, ...]
    pattern: tuple[int, ...]
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    qk_norm: str | None
    sinks: bool | None
    output_gate: bool | None
    bias: bool | None
    kv_shared_layers: int | None
    index_heads: int | None
    index_head_dim: int | None
    index_layers: dict[str, int]
    logit_softcap: float | None
    rope: Rope

    def count(self, mixer: int) -> int:
        return self.pattern.count(mixer)

    def short(self) -> str:
        """The mixers with their layer counts, commonest first."""
        if len(self.mixers) == 1:
            return self.mixers[0].short()
        order = sorted(range(len(self.mixers)), key=lambda i: -self.count(i))
        return " + ".join(f"{self.count(i)}×{self.mixers[i].short()}" for i in order)


def read_attention(parts: Sections, layers: int | None, hidden: int | None) -> Attention:
    """Translate. Layers whose kind is unknown get a mixer of kind "unknown" and a finding."""
    text = parts.text
    heads = _largest(
        text.whole_or_list(
            "attention.heads",
            "num_attention_heads",
            "n_head",
            "n_heads",
            "num_heads",
            "num_query_heads",
            "decoder_attention_heads",
            most=1_000_000,
        )
    )
    kv_heads = _kv_heads(text, heads)
    head_dim = _head_dim(text, heads, hidden)
    base = _base_mixer(text, heads, kv_heads, head_dim)
    if text.data.get("model_type") == "falcon_h1":
        base = msgspec.structs.replace(base, beside="mamba2", state=read_state(text, "mamba2"))  # type: ignore[type-var]
    places: dict[Mixer, int] = {}
    pattern: list[int] = []
    own = _per_layer(text)
    for i, word in enumerate(mixer_words(text, layers)):
        mixer = _mixer(text, base, word.kind, word.window, word.chunk, word.compress_ratio, word.kv_heads)
        if word.second and mixer.heads:
            mixer = _second(text, mixer)
        if i in own and mixer.heads:
            mixer = _altered(mixer, own[i])
        pattern.append(places.setdefault(mixer, len(places)))
    return Attention(
        mixers=tuple(places),
        pattern=tuple(pattern),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=base.head_dim,
        qk_norm=_qk_norm(text),
        sinks=_sinks(text),
        output_gate=text.flag("attention.output_gate", "attn_output_gate", "use_gated_attention"),
        bias=text.flag("attention.bias", "attention_bias", "qkv_bias", "use_bias"),
        kv_shared_layers=text.whole("attention.kv_shared_layers", "num_kv_shared_layers"),
        index_heads=text.whole("attention.index_heads", "index_n_heads", most=1_000_000),
        index_head_dim=text.whole("attention.index_head_dim", "index_head_dim", most=1_000_000),
        index_layers=dict(Counter(text.texts("attention.index_layers", "indexer_types") or ())),
        logit_softcap=text.number("attention.logit_softcap", "attn_logit_softcapping"),
        rope=read_rope(text),
    )


def _largest(value: int | tuple[int, ...] | None) -> int | None:
    return max(value, default=None) if isinstance(value, tuple) else value


def _kv_heads(text: View, heads: int | None) -> int | None:
    """vLLM's order of names; without any of them, as many as heads. Falcon's multi_query means one."""
    fact = "attention.kv_heads"
    if text.data.get("model_type") == "falcon" and not text.flag(fact, "new_decoder_architecture"):
        # Falcon's class heeds num_kv_heads only in its new architecture; its configs may state both.
        several = text.flag(fact, "multi_query") is False
        text.whole(fact, "num_kv_heads", "n_head_kv", most=1_000_000)
        text.ledger.derived(fact, "multi_query, without new_decoder_architecture")
        return heads if several else 1
    found = _largest(
        text.whole_or_list(
            fact,
            "n_head_kv",
            "num_kv_heads",
            "num_key_value_heads",
            "multi_query_group_num",
            "num_attention_groups",
            most=1_000_000,
        )
    )
    if found is None and (part := text.section("attn_config")) is not None:
        found = part.whole(fact, "kv_n_heads", least=1, most=1_000_000)  # DBRX, MPT
    if found is None and text.flag(fact, "multi_query"):
        found = 1
    if found is None and (rows := text.rows("attention.blocks", "block_configs")) and heads:
        groups = [s.whole(fact, "n_heads_in_group", least=1) for r in rows if (s := r.section("attention"))]
        found = max((heads // g for g in groups if g), default=None)
    if found is None and heads:
        text.ledger.derived(fact, "as many as heads: no field says otherwise")
        found = heads
    if found and heads and heads % found:
        place = f"config.json: {text.path}num_key_value_heads"
        text.ledger.findings.append(note(HEADS, place, f"{heads} attention heads are no multiple of {found} KV heads"))
    return found


def _head_dim(text: View, heads: int | None, hidden: int | None) -> int | None:
    fact = "attention.head_dim"
    found = text.whole(fact, "head_dim", "hidden_size_per_head", "attention_head_dim", "kv_channels", most=1_000_000)
    if found:
        return found
    if heads and hidden:
        text.ledger.derived(fact, "hidden_size / num_attention_heads")
        return hidden // heads
    return None


def _base_mixer(text: View, heads: int | None, kv_heads: int | None, head_dim: int | None) -> Mixer:
    """The attention proper, before windows: MLA where a latent rank is given, else by the numbers of heads."""
    rank = text.whole("attention.kv_lora_rank", "kv_lora_rank")
    nope = text.whole("attention.nope_dim", "qk_nope_head_dim")
    rope = text.whole("attention.rope_dim", "qk_rope_head_dim")
    value = text.whole("attention.value_head_dim", "v_head_dim")
    q_rank = text.whole("attention.q_lora_rank", "q_lora_rank")
    topk = text.whole("attention.index_topk", "index_topk")
    wanted = text.flag("attention.use_mla", "use_mla")
    latent = bool(rank) and wanted is not False
    compressed = "compress_ratios" in text.data and bool(text.data.get("o_lora_rank"))
    if latent or compressed:
        return Mixer(
            kind="MLA",
            heads=heads,
            kv_heads=kv_heads,
            head_dim=(nope or 0) + (rope or 0) if latent else head_dim,
            value_head_dim=value if latent else head_dim,
            q_lora_rank=q_rank or None,
            kv_lora_rank=rank if latent else None,
            nope_dim=nope,
            rope_dim=rope,
            index_topk=topk,
        )
    return Mixer(
        kind=_by_heads(heads, kv_heads),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_head_dim=value or None,
        index_topk=topk,
    )


def _by_heads(heads: int | None, kv_heads: int | None) -> str:
    if not heads or not kv_heads:
        return "unknown"
    return "MHA" if heads == kv_heads else "MQA" if kv_heads == 1 else "GQA"


def _mixer(
    text: View, base: Mixer, kind: str, window: int | None, chunk: int | None, ratio: int | None, kv_heads: int | None
) -> Mixer:
    """The mixer of one layer, from its word and the model's base attention."""
    if kind == "attention":
        changes: dict[str, object] = {"window": window, "chunk": chunk}
        if ratio is not None:
            # DeepSeek-V4: only the lightly compressed layers have an indexer; 0 means the plain window.
            changes |= {"compress_ratio": ratio or None, "index_topk": base.index_topk if 0 < ratio < 64 else None}
        if kv_heads is not None:
            changes |= {"kv_heads": kv_heads, "kind": _by_heads(base.heads, kv_heads)}
        if window is None and chunk is None and ratio is None and base.kind != "MLA":
            changes |= _global_attention(text, base)
        return msgspec.structs.replace(base, **changes)  # type: ignore[type-var]
    if kind in ("none", "unknown"):
        return Mixer(kind=kind)
    return Mixer(kind=kind, state=read_state(text, kind))


def _per_layer(text: View) -> dict[int, View]:
    """`per_layer_config` (transformers 5.19): by layer, the fields in which it differs from the rest."""
    rows = text.section("per_layer_config")
    if rows is None:
        return {}
    keys = [k for k in list(rows.data)[:MOST_LAYERS] if isinstance(k, str) and k.isdecimal() and len(k) < 9]
    return {int(key): row for key in keys if (row := rows.section(key)) is not None}


def _altered(mixer: Mixer, row: View) -> Mixer:
    """The layer's mixer with the fields of its own row."""
    fact = "attention.per_layer"
    heads = row.whole(fact, "num_attention_heads", least=1, most=1_000_000) or mixer.heads
    kv_heads = row.whole(fact, "num_key_value_heads", least=1, most=1_000_000) or mixer.kv_heads
    dim = row.whole(fact, "head_dim", least=1, most=1_000_000) or mixer.head_dim
    window = row.whole(fact, "sliding_window") if "sliding_window" in row.data else mixer.window
    kind = mixer.kind if mixer.kind == "MLA" else _by_heads(heads, kv_heads)
    return msgspec.structs.replace(  # type: ignore[type-var]
        mixer, kind=kind, heads=heads, kv_heads=kv_heads, head_dim=dim, window=window
    )


def _second(text: View, mixer: Mixer) -> Mixer:
    """The config's second set of heads: Step-3.5's `attention_other_setting`, MiMo-V2's `swa_` fields."""
    fact = "attention.second_heads"
    part, start = text.section("attention_other_setting") or text, "swa_"
    if part is not text:
        start = ""
    most = 1_000_000
    heads = part.whole(fact, f"{start}num_attention_heads", least=1, most=most) or mixer.heads
    names = (f"{start}num_key_value_heads", *(("num_attention_groups",) if part is not text else ()))
    kv_heads = part.whole(fact, *names, least=1, most=most) or mixer.kv_heads
    dim = part.whole(fact, f"{start}head_dim", least=1, most=most) or mixer.head_dim
    value = part.whole(fact, f"{start}v_head_dim", least=1, most=most) or mixer.value_head_dim
    return msgspec.structs.replace(  # type: ignore[type-var]
        mixer, kind=_by_heads(heads, kv_heads), heads=heads, kv_heads=kv_heads, head_dim=dim, value_head_dim=value
    )


def _global_attention(text: View, base: Mixer) -> dict[str, object]:
    """Gemma 4's full layers have their own head size and number of KV heads."""
    dim = text.whole("attention.global_head_dim", "global_head_dim")
    kv_heads = text.whole("attention.global_kv_heads", "num_global_key_value_heads")
    changes: dict[str, object] = {}
    if dim:
        changes["head_dim"] = dim
    if kv_heads:
        changes |= {"kv_heads": kv_heads, "kind": _by_heads(base.heads, kv_heads)}
    return changes


# Families whose class always normalises q and k (no field says so); from transformers' and vLLM's model files.
QK_NORM_FAMILIES = {
    "qwen3": "per head",
    "qwen3_moe": "per head",
    "qwen3_next": "per head",
    "qwen3_vl_text": "per head",
    "qwen3_vl_moe_text": "per head",
    "qwen3_5_text": "per head",
    "qwen3_5_moe_text": "per head",
    "gemma3_text": "per head",
    "gemma4_text": "per head",
    "olmo2": "whole",
    "olmo3": "whole",
    "olmoe": "whole",
    "flex_olmo": "whole",
    "exaone4": "per head",
    "exaone_moe": "per head",
    "mellum": "per head",
    "laguna": "per head",
}


def _qk_norm(text: View) -> str | None:
    """ "per head", "whole" (over all heads), "yes" (kind unknown), "no", or None: no file says."""
    fact = "attention.qk_norm"
    written = text.flag(fact, "use_qk_norm", "qk_norm", "qk_layernorm", "use_qk_layernorm")
    how = text.text(fact, "qk_norm_type")
    kind = text.data.get("model_type")
    if written is False:
        return "no"
    if isinstance(kind, str) and kind in QK_NORM_FAMILIES:
        text.ledger.derived(fact, f"the class of model_type {kind} always has it")
        return QK_NORM_FAMILIES[kind]
    if written:
        # MiniMax: "per_layer" means one norm over all heads of the layer.
        return {"per_layer": "whole", "per_head": "per head"}.get(how or "", "yes")
    return None


SINKS = ("gpt_oss", "deepseek_v4", "mimo_v2_flash", "granite_swa", "granitemoe_swa", "openai_privacy_filter")


def _sinks(text: View) -> bool | None:
    """Learned attention sinks: a field, or gpt-oss, whose class always has them."""
    written = text.flag(
        "attention.sinks",
        "attention_sink",
        "use_attention_sinks",
        "add_swa_attention_sink_bias",
        "add_full_attention_sink_bias",
    )
    if written is None and text.data.get("model_type") in SINKS:
        text.ledger.derived("attention.sinks", "the class of this model_type always has them")
        return True
    return written
