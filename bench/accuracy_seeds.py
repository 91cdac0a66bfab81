"""The seeded faults of accuracy_faults.py by family: what is broken, and which module locate should name first.

Over 250 lines: one list, read from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from accuracy_edits import Tensors, blocks, change, set_config, swap, tower
from accuracy_patches import (
    ATTENTION_SCALE,
    DECODE_POSITION,
    EPSILON,
    INPUT,
    OUTPUT,
    ROPE_CACHE,
    ROPE_STYLE,
    SAMPLER,
    SHIFT_QUERIES,
    head_order,
    patch,
)


@dataclass
class Fault:
    """`where` matches the key that locate should name first, "" for none. `weights`, `config` edit the copy; `patch` is
    source. `cause`: the class that parity and locate must give; "" where it is not asked.
    """

    name: str
    where: str
    weights: Callable[[Tensors], None] | None = None
    config: Callable[[dict[str, Any]], None] | None = None
    patch: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    cause: str = ""


def sampling() -> list[Fault]:
    """Between the logits and the token: every module is right, the logits are, and another token is taken."""
    same, kept = "(lambda l, seen: l)", "(lambda t, vocabulary: t)"
    noise = (
        "-torch.log(-torch.log(torch.rand(l.shape, generator=torch.Generator().manual_seed(3)).clamp(1e-9, 1 - 1e-7)))"
    )
    changes = {
        "temperature 1 in spite of greedy": f"(lambda l, seen: l + {noise})",
        "temperature 0.3 in spite of greedy": f"(lambda l, seen: l / 0.3 + {noise})",
        "repetition penalty 1.5 of other requests": (
            "(lambda l, seen: l.index_copy(1, seen, "
            "torch.where(l[:, seen] > 0, l[:, seen] / 1.5, l[:, seen] * 1.5)) if len(seen) else l)"
        ),
        "presence penalty 2": "(lambda l, seen: l.index_add(1, seen, torch.full((len(l), len(seen)), -2.0)))",
        "a bias on one token": "(lambda l, seen: l + 100.0 * (torch.arange(l.shape[-1]) == 11))",
        "every third token banned": "(lambda l, seen: l.masked_fill(torch.arange(l.shape[-1]) % 3 == 0, -1e9))",
        "the largest of half the vocabulary, as of one rank": (
            "(lambda l, seen: l.masked_fill(torch.arange(l.shape[-1]) >= l.shape[-1] // 2, -1e9))"
        ),
        "the smallest instead of the largest": "(lambda l, seen: -l)",
    }
    made = [
        Fault(f"sampling: {name}", "", patch=patch(SAMPLER, CHANGE=change, AFTER=kept), cause="sampling")
        for name, change in changes.items()
    ]
    late = "(lambda t, vocabulary: (t + 1) % vocabulary)"
    return [
        *made,
        Fault(
            "sampling: token numbers off by one", "", patch=patch(SAMPLER, CHANGE=same, AFTER=late), cause="sampling"
        ),
    ]


def common(layer_attn: int = 0) -> list[Fault]:
    """Faults that every family can have; `layer_attn` is a layer with full attention."""
    i = layer_attn
    return [
        Fault("rope base 10000 -> 500000 (config)", r"rope_[qk]", config=set_config(rope={"rope_theta": 500000.0})),
        Fault("rope style (patch)", r"rope_[qk]", patch=patch(ROPE_STYLE)),
        Fault("rope cache one position late (patch)", r"rope_q|o_proj@in", patch=patch(SHIFT_QUERIES)),
        Fault("decode position off by one (patch)", r"rope_[qk]", patch=patch(DECODE_POSITION)),
        Fault(
            "rope scaled by 2 (patch)", r"rope_[qk]", patch=patch(ROPE_CACHE, CHANGE="(lambda c: c[::2].repeat(2,1))")
        ),
        Fault("norm epsilon 1e-6 -> 1e-3 (config)", r"layernorm$|norm$", config=set_config(rms_norm_eps=1e-3)),
        Fault("attention scale doubled (patch)", r"o_proj@in", patch=patch(ATTENTION_SCALE, FACTOR="2.0")),
        Fault(
            "input norm of layer 1 missing",
            r"layers\.1\.input_layernorm$",
            weights=change("layers.1.input_layernorm.weight", lambda a: np.full_like(a, round(float(a.mean())))),
        ),
        Fault(
            "norms of a layer exchanged",
            r"layers\.0\.input_layernorm$",
            weights=swap("layers.0.input_layernorm.weight", "layers.0.post_attention_layernorm.weight"),
        ),
        Fault(
            "o_proj scale missing",
            rf"layers\.{i}\.self_attn\.o_proj$",
            weights=change(f"layers.{i}.self_attn.o_proj.weight", lambda a: a * 1.25),
        ),
        Fault(
            "final norm missing",
            r"^norm$",
            weights=change("model.norm.weight", lambda a: np.full_like(a, round(float(a.mean())))),
        ),
        Fault(
            "lm_head rows shifted by one", r"lm_head", weights=change("lm_head.weight", lambda a: np.roll(a, 1, axis=0))
        ),
    ]


def dense(width: int, heads: int, kv: int, dense_layers: tuple[int, int] = (0, 1)) -> list[Fault]:
    a, b = dense_layers
    return [
        Fault(
            "gate and up swapped",
            rf"layers\.{b}\.mlp\.(gate|up)_proj$",
            weights=swap(f"layers.{b}.mlp.gate_proj.weight", f"layers.{b}.mlp.up_proj.weight"),
        ),
        Fault(
            "down_proj of another layer",
            rf"layers\.{a}\.mlp\.down_proj$",
            weights=swap(f"layers.{a}.mlp.down_proj.weight", f"layers.{b}.mlp.down_proj.weight"),
        ),
        *projections(width, heads, kv),
    ]


def projections(width: int, heads: int, kv: int, layer: int = 0) -> list[Fault]:
    at = f"layers.{layer}.self_attn."
    key = rf"layers\.{layer}\.self_attn\."
    return [
        Fault(
            "query heads in another order",
            key + r"q_proj$",
            weights=change(at + "q_proj.weight", blocks(width, [*range(1, heads), 0])),
        ),
        Fault("key head duplicated", key + r"k_proj$", weights=change(at + "k_proj.weight", blocks(width, [0] * kv))),
        Fault("keys and values swapped", key + r"[kv]_proj$", weights=swap(at + "k_proj.weight", at + "v_proj.weight")),
        Fault(
            "head order at o_proj, as under TP (patch)",
            key + "o_proj@in",
            patch=patch(
                INPUT,
                TAIL=f"layers.{layer}.self_attn.o_proj",
                CHANGE=head_order(width, heads, [*range(heads // 2, heads), *range(heads // 2)]),
            ),
        ),
        Fault("value scale missing", key + r"v_proj$", weights=change(at + "v_proj.weight", lambda a: a * 0.8)),
    ]


def experts(at: str, key: str, count: int = 8) -> list[Fault]:
    def swapped(t: Tensors) -> None:
        for part in ("gate_proj", "up_proj", "down_proj"):
            swap(f"{at}experts.0.{part}.weight", f"{at}experts.3.{part}.weight")(t)

    def all_gate_up(t: Tensors) -> None:
        for number in range(count):
            swap(f"{at}experts.{number}.gate_proj.weight", f"{at}experts.{number}.up_proj.weight")(t)

    return [
        Fault("two experts exchanged", key + r"experts$", weights=swapped),
        Fault("experts' gate and up swapped", key + r"experts$", weights=all_gate_up),
        Fault(
            "router rows rolled",
            key + r"(gate|experts)$",
            weights=change(at + "gate.weight", lambda a: np.roll(a, 1, axis=0)),
        ),
        Fault(
            "one expert's down scaled",
            key + r"experts$",
            weights=change(f"{at}experts.2.down_proj.weight", lambda a: a * 1.5),
        ),
    ]


def bias(part: str) -> Fault:
    return Fault(
        f"{part} bias dropped",
        rf"layers\.0\.self_attn\.{part}$",
        weights=change(f"layers.0.self_attn.{part}.bias", np.zeros_like),
    )


def seeing() -> list[Fault]:
    """Faults of the vision tower and the projector."""

    def exchanged(t: Tensors) -> None:
        one, two = (
            next(n for n in t if "vision" in n and n.endswith(f"layers.0.self_attn.{p}_proj.weight")) for p in "qk"
        )
        t[one], t[two] = t[two], t[one]

    def activation(config: dict[str, Any]) -> None:
        config["vision_config"]["hidden_act"] = "relu"

    return [
        Fault(
            "tower: colours in another order",
            r"vision\.patch_embedding$",
            weights=tower("patch_embedding.weight", lambda a: a[:, ::-1]),
        ),
        Fault(
            "tower: places shifted by one",
            r"vision\.(position_embedding|embeddings)$",
            weights=tower("position_embedding.weight", lambda a: np.roll(a, 1, axis=0)),
        ),
        Fault("tower: queries and keys swapped", r"vision\.layers\.0\.self_attn\.[qk]_proj$", weights=exchanged),
        Fault(
            "tower: norm weight missing",
            r"vision\.layers\.1\.layer_norm2$",
            weights=tower("layers.1.layer_norm2.weight", np.ones_like),
        ),
        Fault(
            "tower: another activation (config)", r"vision\.layers\.0\.mlp\.(activation_fn|fc2@in)$", config=activation
        ),
        Fault(
            "tower: fc2 bias dropped",
            r"vision\.layers\.1\.mlp\.fc2$",
            weights=tower("layers.1.mlp.fc2.bias", np.zeros_like),
        ),
        Fault(
            "projector: linear_2 transposed",
            r"projector\.linear_2$",
            weights=change("projector.linear_2.weight", lambda a: a.T),
        ),
        Fault(
            "projector: linear_1 bias dropped",
            r"projector\.linear_1$",
            weights=change("projector.linear_1.bias", np.zeros_like),
        ),
        Fault(
            "projector: patches one place late (patch)",
            r"projector\.multi_modal_projector$",
            patch=patch(OUTPUT, TAIL="multi_modal_projector", CHANGE="(lambda y: y.roll(1, -2))"),
        ),
    ]


def faults(family: str) -> list[Fault]:
    if family == "qwen3":
        qk = [
            Fault(
                f"{n} weight missing",
                rf"layers\.1\.self_attn\.{n}$",
                weights=change(f"layers.1.self_attn.{n}.weight", np.ones_like),
            )
            for n in ("q_norm", "k_norm")
        ]
        eps = Fault(
            "q_norm epsilon 1e-6 -> 0.1 (patch)",
            r"q_norm$",
            patch=patch(EPSILON, TAIL="layers.0.self_attn.q_norm", VALUE="0.1"),
        )
        act = Fault(
            "activation cut off (patch)",
            r"layers\.1\.mlp\.down_proj@in",
            patch=patch(OUTPUT, TAIL="layers.1.mlp.act_fn", CHANGE="(lambda y: y.clamp(max=0.5))"),
        )
        return [*common(), *dense(32, 4, 2), *qk, eps, act, *sampling()]
    if family == "qwen2":
        square = [
            Fault(
                f"{n} transposed",
                rf"layers\.1\.self_attn\.{n}$",
                weights=change(f"layers.1.self_attn.{n}.weight", lambda a: a.T),
            )
            for n in ("q_proj", "o_proj")
        ]
        return [*common(), *dense(32, 4, 2), bias("q_proj"), bias("k_proj"), bias("v_proj"), *square]
    if family == "qwen3_moe":
        return [
            *common(),
            *sampling(),
            *projections(32, 4, 2),
            *experts("layers.1.mlp.", r"layers\.1\.mlp\."),
            Fault("top-k 2 -> 3 (config)", r"experts$", config=set_config(num_experts_per_tok=3)),
            Fault("top-k weights not normed (config)", r"experts$", config=set_config(norm_topk_prob=False)),
        ]
    if family == "deepseek_v3":
        return [
            *common(),
            *experts("layers.1.mlp.", r"layers\.1\.mlp\."),
            Fault("the engine's own rotary kernel on latent attention", r"rope_[qk]", args={"compilation_config": {}}),
            Fault(
                "routed scaling 2.5 -> 1 (config)",
                r"layers\.1\.mlp(\.experts)?$",
                config=set_config(routed_scaling_factor=1.0),
            ),
            Fault(
                "kv_a norm missing",
                r"kv_a_layernorm$",
                weights=change("layers.0.self_attn.kv_a_layernorm.weight", np.ones_like),
            ),
            Fault(
                "shared expert's gate and up swapped",
                r"layers\.1\.mlp\.shared_experts\.(gate|up)_proj$",
                weights=swap(
                    "layers.1.mlp.shared_experts.gate_proj.weight", "layers.1.mlp.shared_experts.up_proj.weight"
                ),
            ),
        ]
    if family == "qwen3_next":
        return [
            *common(1),
            *experts("layers.0.mlp.", r"layers\.0\.mlp\."),
            Fault(
                "delta net's norm missing",
                r"layers\.0\.linear_attn",
                weights=change("linear_attn.norm.weight", np.ones_like),
            ),
            Fault(
                "A_log of the delta net wrong",
                r"layers\.0\.linear_attn",
                weights=change("linear_attn.A_log", lambda a: a + 1.0),
            ),
            Fault(
                "convolution reversed",
                r"layers\.0\.linear_attn",
                weights=change("linear_attn.conv1d.weight", lambda a: a[..., ::-1]),
            ),
        ]
    return [
        *seeing(),
        *common(),
        *dense(32, 4, 2),
        Fault(
            "activation cut off (patch)",
            r"layers\.1\.mlp\.down_proj@in",
            patch=patch(OUTPUT, TAIL="layers.1.mlp.act_fn", CHANGE="(lambda y: y.clamp(max=0.5))"),
        ),
    ]
