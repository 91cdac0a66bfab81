"""A tiny checkpoint of the same layout: shrunken sizes in config.json, a name and a shape for every tensor.

In: config.json, the facts of the decoder. Out: `Tiny`. Every shape is made of the roles, so a tensor of an undecided
kind has none, and is listed as left out. Sizes keep what the checkpoint's own have in common: grouped heads stay
grouped, a dense layer stays before the ones with experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.adapter.scaffold.draft import Draft
from seatrial.adapter.scaffold.facts import DecoderFacts
from seatrial.adapter.scaffold.roles import DRAFT, Kind
from seatrial.core.record import Record, replace

HIDDEN, HEADS, HEAD_DIM, INTERMEDIATE, EXPERTS, EXPERT_WIDTH, VOCABULARY = 64, 4, 16, 96, 4, 48, 256

# The tiny checkpoint is not quantised: what is packed is written plain, and what scales it is not there.
PACKED = ("qweight", "weight_packed")
SCALES = (
    "scales", "qzeros", "g_idx", "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_zero_point",
    "weight_shape", "weight_g_idx", "input_scale", "input_zero_point",
)  # fmt: skip


class Tiny(Record):
    """`config` is the shrunken config.json; `shapes` maps each tensor to its shape; `left_out` are kinds without.

    `kept` are kinds with a side that nothing in config.json gives, which stays as it is in the checkpoint.
    """

    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    left_out: tuple[str, ...]
    kept: tuple[str, ...] = ()


def tiny(config: Mapping[str, Any], facts: DecoderFacts, draft: Draft | None = None) -> Tiny:
    """Shrink: a couple of layers (one more than the last dense one), small widths; one layer of the draft."""
    of = facts.of
    small = dict(config)
    heads, kv = config.get(of["heads"]), config.get(of["kv_heads"]) if of["kv_heads"] else None
    kv_heads = HEADS if not kv or kv == heads else 1 if kv == 1 else HEADS // 2
    sparse = [n for k in facts.kinds if k.target and ".mlp.experts." in k.target for n in k.layers]
    layers = max(2, min(sparse) + 1) if sparse else 2
    layers = min(layers, 4)
    sizes = {
        "hidden": HIDDEN, "heads": HEADS, "kv_heads": kv_heads, "head_dim": HEAD_DIM, "intermediate": INTERMEDIATE,
        "layers": layers, "vocab": VOCABULARY, "experts": EXPERTS, "top_k": 2, "moe_intermediate": EXPERT_WIDTH,
    }  # fmt: skip
    for word, size in sizes.items():
        if of[word]:
            small[of[word]] = size
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if name in small and small[name] is not None:
            small[name] = 0
    if isinstance(small.get("layer_types"), list):
        small["layer_types"] = small["layer_types"][:layers]
    if isinstance(small.get("shared_expert_intermediate_size"), int) and small["shared_expert_intermediate_size"]:
        small["shared_expert_intermediate_size"] = EXPERT_WIDTH
    if facts.grouped:
        small["n_group"] = small["topk_group"] = 1
    small.pop("quantization_config", None)
    small.pop("compression_config", None)
    shared = EXPERT_WIDTH * (small.get("n_shared_experts") or 1)
    shapes: dict[str, tuple[int, ...]] = {}
    left_out: list[str] = []
    kinds = [(kind, layers) for kind in facts.kinds]
    if draft is not None and not draft.reason:
        if draft.field:
            small[draft.field] = 1
        mine = [k for k in draft.kinds if k.target is not None and (DRAFT.match(k.pattern) or k.layers)]
        at = 0 if draft.layout.own else layers
        kinds += [(replace(k, layers=(at,)), at + 1) for k in mine]
    elif draft is not None and draft.field:
        small[draft.field] = 0
    for given, end in kinds:
        kind = _plain(given)
        if kind.target and kind.target.rpartition(".")[2] in SCALES:
            continue
        shape = _shape(kind.target or "", kv_heads, bool(of["head_dim"]), bool(of["moe_intermediate"]), shared)
        if kind.target and shape is None:
            left_out.append(kind.pattern)
        if shape is None:
            continue
        numbers = [n for n in kind.layers if n < end] or ([0] if "layers" not in (kind.target or "") else [])
        for number in numbers:
            for expert in range(EXPERTS) if "experts.*" in (kind.target or "") else (0,):
                name = kind.pattern.replace("*", str(number), 1) if kind.layers else kind.pattern
                shapes[name.replace("*", str(expert))] = shape
    left_out += [k.pattern for k, _ in kinds if k.target == ""]
    return Tiny(config=small, shapes=shapes, left_out=tuple(left_out))


def quantised_leaves(names: Iterable[str]) -> tuple[str, ...]:
    """The last words of packed weights and of their scales, as far as these tensors have any."""
    leaves = {name.rpartition(".")[2] for name in names}
    return tuple(leaf for leaf in (*PACKED, *SCALES) if leaf in leaves)


def plain_kinds(kinds: Iterable[Kind]) -> list[Kind]:
    """The packed kinds, as those of the tiny checkpoint that stand for them; none that is there anyhow."""
    known = list(kinds)
    there = {kind.pattern for kind in known}
    plain = [_plain(kind) for kind in known]
    return [p for p, kind in zip(plain, known, strict=True) if p is not kind and p.pattern not in there]


def _plain(kind: Kind) -> Kind:
    """A packed weight as the one it was packed from."""
    module, _, leaf = (kind.target or "").rpartition(".")
    if leaf not in PACKED or not kind.pattern.endswith(f".{leaf}"):
        return kind
    return replace(kind, pattern=f"{kind.pattern.removesuffix(leaf)}weight", target=f"{module}.weight")


def _shape(target: str, kv_heads: int, own_dim: bool, own_width: bool, shared: int) -> tuple[int, ...] | None:
    """Rows and columns of a tensor, by the name the written model gives it."""
    module, _, leaf = target.rpartition(".")
    head_dim = HEAD_DIM if own_dim else HIDDEN // HEADS
    width = EXPERT_WIDTH if own_width else INTERMEDIATE
    table = (
        (r"(model\.embed_tokens|lm_head)", (VOCABULARY, HIDDEN)),
        (r".*\.shared_head\.head", (VOCABULARY, HIDDEN)),
        (r".*\.eh_proj", (HIDDEN, 2 * HIDDEN)),
        (r".*\.[qk]_norm", (head_dim,)),
        (r".*norm", (HIDDEN,)),
        (r".*\.q_proj", (HEADS * head_dim, HIDDEN)),
        (r".*\.[kv]_proj", (kv_heads * head_dim, HIDDEN)),
        (r".*\.o_proj", (HIDDEN, HEADS * head_dim)),
        (r".*\.experts\.\*\.down_proj", (HIDDEN, width)),
        (r".*\.experts\.\*\..*", (width, HIDDEN)),
        (r".*\.shared_expert\.down_proj", (HIDDEN, shared)),
        (r".*\.shared_expert\..*", (shared, HIDDEN)),
        (r".*\.shared_expert_gate", (1, HIDDEN)),
        (r".*\.mlp\.gate", (EXPERTS, HIDDEN)),
        (r".*\.down_proj", (HIDDEN, INTERMEDIATE)),
        (r".*\.(gate|up)_proj", (INTERMEDIATE, HIDDEN)),
    )
    found = next((shape for rule, shape in table if re.fullmatch(rule, module)), None)
    if found is None or leaf not in ("weight", "bias", "e_score_correction_bias"):
        return None
    return found if leaf == "weight" else found[:1]
