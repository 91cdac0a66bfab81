"""What part each tensor of a checkpoint plays in a decoder, by its name: the weight mapping, kind by kind.

In: tensors (names and shapes). Out: `Kind`s: a checkpoint's name with `*` for numbers, and the name the written model
gives it (None: left out on purpose, with the reason). A kind that no rule knows keeps an empty name: it is undecided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from seatrial.core.record import Record

NUMBER = re.compile(r"(^|(?<=\.))\d+(?=\.|$)")
LAYER = re.compile(r"^((?:[^.]+\.)*?(?:layers|h|blocks))\.(\d+)\.(.+)$")
_ATTENTION = r"(?:self_attn|self_attention|attention|attn)"
_MLP = r"(?:mlp|feed_forward|ffn|block_sparse_moe|moe)"
# Names inside a layer, without the leaf; first match wins.
INSIDE: tuple[tuple[str, str], ...] = (
    (rf"{_ATTENTION}\.(?:q_proj|wq|query|q)", "self_attn.q_proj"),
    (rf"{_ATTENTION}\.(?:k_proj|wk|key|k)", "self_attn.k_proj"),
    (rf"{_ATTENTION}\.(?:v_proj|wv|value|v)", "self_attn.v_proj"),
    (rf"{_ATTENTION}\.(?:o_proj|wo|out_proj|dense|o)", "self_attn.o_proj"),
    (rf"{_ATTENTION}\.(?:q_norm|q_layernorm|query_norm|query_layernorm)", "self_attn.q_norm"),
    (rf"{_ATTENTION}\.(?:k_norm|k_layernorm|key_norm|key_layernorm)", "self_attn.k_norm"),
    (rf"{_MLP}\.experts\.\*\.(?:gate_proj|w1)", "mlp.experts.*.gate_proj"),
    (rf"{_MLP}\.experts\.\*\.(?:up_proj|w3)", "mlp.experts.*.up_proj"),
    (rf"{_MLP}\.experts\.\*\.(?:down_proj|w2)", "mlp.experts.*.down_proj"),
    (rf"{_MLP}\.shared_experts?\.(?:gate_proj|w1)", "mlp.shared_expert.gate_proj"),
    (rf"{_MLP}\.shared_experts?\.(?:up_proj|w3)", "mlp.shared_expert.up_proj"),
    (rf"{_MLP}\.shared_experts?\.(?:down_proj|w2)", "mlp.shared_expert.down_proj"),
    (rf"{_MLP}\.shared_expert_gate", "mlp.shared_expert_gate"),
    (rf"{_MLP}\.(?:gate|router)", "mlp.gate"),
    (rf"{_MLP}\.(?:gate_proj|w1)", "mlp.gate_proj"),
    (rf"{_MLP}\.(?:up_proj|w3)", "mlp.up_proj"),
    (rf"{_MLP}\.(?:down_proj|w2)", "mlp.down_proj"),
    (r"(?:input_layernorm|attention_norm|attn_norm|ln_1|norm1)", "input_layernorm"),
    (r"(?:post_attention_layernorm|ffn_norm|mlp_norm|ln_2|norm2)", "post_attention_layernorm"),
)
OUTSIDE: tuple[tuple[str, str], ...] = (
    (r"(?:[^.]+\.)*(?:embed_tokens|tok_embeddings|wte|word_embeddings)", "model.embed_tokens"),
    (r"(?:model|transformer)\.(?:norm|final_layernorm|final_norm|ln_f)|norm", "model.norm"),
    (r"(?:[^.]+\.)*(?:lm_head|embed_out)|output", "lm_head"),
)
ROTARY = re.compile(r"rotary_emb\.inv_freq$|rope\.freqs$")
# Draft (MTP) layers with numbers of their own: MiMo's `model.mtp_layers.0`, `mtp.layers.0` of Qwen3-Next and Qwen3.5.
DRAFT = re.compile(r"^(?:[^.]+\.)*?(?:mtp|mtp_layers)\.")
BY_CONFIG = "rotary frequencies are computed from the config"


class NamedTensor(Protocol):
    """Anything with a name and a shape (empty where only names are known)."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


class Kind(Record):
    """Tensors whose names differ only in numbers. `target` is the model's name for them, with the same `*`s.

    `target` "" is undecided; None is left out, and `reason` says why. `layers` are the layer numbers it appears at.
    """

    pattern: str
    target: str | None
    count: int
    shape: tuple[int, ...]
    dtype: str
    example: str
    layers: tuple[int, ...] = ()
    reason: str = ""


def kinds_of(tensors: Iterable[NamedTensor], layers: int | None, tied: bool) -> tuple[Kind, ...]:
    """All kinds, by pattern. `layers`: the model's own number of layers; what lies beyond belongs to a draft model."""
    groups: dict[str, list[NamedTensor]] = {}
    late: dict[str, list[NamedTensor]] = {}
    for tensor in tensors:
        number = layer_of(tensor.name)
        beyond = DRAFT.match(tensor.name) or (layers is not None and number is not None and number >= layers)
        (late if beyond else groups).setdefault(NUMBER.sub("*", tensor.name), []).append(tensor)
    found = [_kind(pattern, members, tied) for pattern, members in groups.items()]
    for pattern, members in late.items():
        if pattern not in groups:
            first = members[0]
            why = f"layer {layer_of(first.name)} and later ones belong to the draft model (MTP)"
            if DRAFT.match(first.name):
                why = "of the draft model (MTP)"
            found.append(kind_of(pattern, None, members, why))
    return tuple(sorted(found, key=lambda k: k.pattern))


def layer_of(name: str) -> int | None:
    """The number of the layer a tensor is in; None outside of the layers."""
    match = LAYER.match(name)
    return int(match[2]) if match else None


def role_inside(module: str) -> str:
    """The module's name in the written decoder layer; "" if no rule knows it."""
    return next((to for rule, to in INSIDE if re.fullmatch(rule, module)), "")


def _kind(pattern: str, members: list[NamedTensor], tied: bool) -> Kind:
    if ROTARY.search(pattern):
        return kind_of(pattern, None, members, BY_CONFIG)
    module, _, leaf = pattern.rpartition(".")
    inside = re.match(r"^(?:[^.]+\.)*?(?:layers|h|blocks)\.\*\.(.+)$", module)
    target = ""
    if inside:
        role = role_inside(inside[1])
        target = f"model.layers.*.{role}.{leaf}" if role else ""
    else:
        role = next((to for rule, to in OUTSIDE if re.fullmatch(rule, module)), "")
        target = f"{role}.{leaf}" if role else ""
    if tied and target.startswith("lm_head."):
        return kind_of(pattern, None, members, "tied to the embedding (tie_word_embeddings)")
    return kind_of(pattern, target, members, "")


def kind_of(pattern: str, target: str | None, members: list[NamedTensor], reason: str) -> Kind:
    """One kind; its layers are those that the names say."""
    numbers = {n for m in members if (n := layer_of(m.name)) is not None}
    return Kind(
        pattern=pattern,
        target=target,
        count=len(members),
        shape=tuple(members[0].shape),
        dtype=members[0].dtype,
        example=members[0].name,
        layers=tuple(sorted(numbers)),
        reason=reason,
    )
