"""The feed-forward part of every layer: dense, mixture of experts, both or none.

In: the language model's section. Out: `FeedForward`. The rules that say which layers have experts are those of
transformers' model classes, each named where it stands.

Longer than 250 lines: the rules of which layers have experts stand beside the fields they read.
"""

from __future__ import annotations

from seatrial.checkpoint.codes import note
from seatrial.checkpoint.config import MOST_EXPERTS, MOST_LAYERS, View
from seatrial.checkpoint.layers import LETTERS, fitted
from seatrial.checkpoint.model_codes import EXPERT_COUNT
from seatrial.core.record import Record

FACT = "moe.pattern"
# Activations that need no gate projection: two matrices instead of three (Nemotron, GPT-2, OPT, …).
UNGATED = {"relu2", "relu", "gelu_new", "gelu_fast"}

# Families whose class has two matrices whatever its activation is called, and those without any feed-forward part.
UNGATED_FAMILIES = {
    "bert", "bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "gptj", "jais2", "mpt", "nemotron", "opt", "phi",
    "roberta", "starcoder2", "whisper", "xlm-roberta",
}  # fmt: skip
WITHOUT = {"mamba", "mamba2", "falcon_mamba"}


class Moe(Record):
    """Experts. `latent_size`: the width the experts work in, where it is not the hidden size (Nemotron 3 Super)."""

    experts: int
    experts_per_token: int | None
    shared_experts: int | None
    intermediate_size: int | None
    shared_intermediate_size: int | None
    groups: int | None
    groups_per_token: int | None
    scoring: str | None
    topk_method: str | None
    routed_scaling: float | None
    normalised: bool | None
    latent_size: int | None
    hash_layers: int | None


class FeedForward(Record):
    """Per layer i: `pattern[i]` is "dense", "moe", "dense+moe" or "none", `sizes[i]` the dense part's width."""

    pattern: tuple[str, ...]
    sizes: tuple[int, ...]
    gated: bool
    moe: Moe | None

    def dense_first(self) -> int:
        """How many dense layers stand before the first with experts."""
        return next((i for i, kind in enumerate(self.pattern) if "moe" in kind), len(self.pattern))


def read_feed_forward(text: View, layers: int | None, intermediate: int | None, activation: str | None) -> FeedForward:
    """Translate the feed-forward fields."""
    moe = _moe(text, intermediate)
    pattern = _pattern(text, layers or 0, moe)
    return FeedForward(
        pattern=pattern,
        sizes=_sizes(text, pattern, intermediate),
        gated=activation not in UNGATED and str(text.data.get("model_type")) not in UNGATED_FAMILIES,
        moe=moe if any("moe" in kind for kind in pattern) or not pattern else None,
    )


def _moe(text: View, intermediate: int | None) -> Moe | None:
    own = text.section("ffn_config")
    if own is not None and "moe_num_experts" in own.data:  # DBRX
        text = own
        intermediate = own.whole("moe.intermediate_size", "ffn_hidden_size")
    names = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts", "num_routed_experts")
    counts = text.whole_or_list("moe.experts", *names, most=MOST_EXPERTS)
    experts = max(counts, default=0) if isinstance(counts, tuple) else counts
    if not experts:
        return None
    per_token = text.whole_or_list(
        "moe.experts_per_token",
        "num_experts_per_tok",
        "num_experts_per_token",
        "top_k_experts",
        "experts_per_token",
        "moe_topk",
        "moe_top_k",
        "moe_k",
        "num_activated_experts",
        most=MOST_EXPERTS,
    )
    chosen = max(per_token, default=None) if isinstance(per_token, tuple) else per_token
    text.whole("moe.experts_per_token", "experts_per_token")
    moe = Moe(
        experts=experts,
        experts_per_token=chosen,
        shared_experts=_one(
            text.whole_or_list(
                "moe.shared_experts",
                "n_shared_experts",
                "num_shared_experts",
                "moe_num_shared_experts",
                "num_shared_expert",
                most=MOST_EXPERTS,
            )
        ),
        intermediate_size=_one(
            text.whole_or_list(
                "moe.intermediate_size",
                "moe_intermediate_size",
                "expert_intermediate_size",
                "moe_ffn_hidden_size",
                "expert_ffn_hidden_size",
            )
        )
        or intermediate,
        shared_intermediate_size=text.whole(
            "moe.shared_intermediate_size",
            "shared_expert_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "shared_intermediate_size",
            "share_expert_dim",
        ),
        groups=text.whole("moe.groups", "n_group", "num_expert_group", most=MOST_EXPERTS),
        groups_per_token=text.whole("moe.groups_per_token", "topk_group", "topk_groups", most=MOST_EXPERTS),
        scoring=text.text("moe.scoring", "scoring_func", "moe_router_activation_func", "score_function"),
        topk_method=text.text("moe.topk_method", "topk_method"),
        routed_scaling=text.number("moe.routed_scaling", "routed_scaling_factor", "moe_router_scaling_factor"),
        normalised=text.flag("moe.normalised", "norm_topk_prob", "moe_renormalize", "route_norm"),
        latent_size=text.whole("moe.latent_size", "moe_latent_size"),
        hash_layers=text.whole("moe.hash_layers", "num_hash_layers"),
    )
    _check(text, moe)
    return moe


def _one(value: int | tuple[int, ...] | None) -> int | None:
    return max(value, default=None) if isinstance(value, tuple) else value


def _check(text: View, moe: Moe) -> None:
    place = f"config.json: {text.path}"
    found = text.ledger.findings
    if moe.experts_per_token and moe.experts_per_token > moe.experts:
        found.append(
            note(EXPERT_COUNT, place + "num_experts_per_tok", f"is {moe.experts_per_token}, with {moe.experts} experts")
        )
    if moe.groups and moe.experts % moe.groups:
        found.append(
            note(EXPERT_COUNT, place + "n_group", f"{moe.experts} experts do not divide into {moe.groups} groups")
        )


def _pattern(text: View, layers: int, moe: Moe | None) -> tuple[str, ...]:
    if (blocks := _from_blocks(text, layers, moe)) is not None:
        return blocks
    if str(text.data.get("model_type")) in WITHOUT:
        return ("none",) * layers
    if moe is None:
        return ("dense",) * layers
    if text.flag(FACT, "enable_moe_block"):
        return ("dense+moe",) * layers  # Gemma 4: a dense MLP and experts side by side
    kinds = text.texts(FACT, "mlp_layer_types")
    if kinds is not None and fitted(text, "mlp_layer_types", kinds, layers):
        return tuple("moe" if k == "sparse" else "dense" for k in kinds)
    sparse = _sparse_layers(text, layers)
    return tuple("moe" if i in sparse else "dense" for i in range(layers))


def _from_blocks(text: View, layers: int, moe: Moe | None) -> tuple[str, ...] | None:
    """Models whose layers are either a mixer or a feed-forward part (Nemotron-H), or may lack one (DeciLM)."""
    letters = text.text(FACT, "hybrid_override_pattern")
    if letters is not None:
        plain = [c for c in letters if LETTERS.get(c) != ""]
        if len(plain) == layers:
            return tuple({"-": "dense", "E": "moe"}.get(c, "none") for c in plain)
    kinds = text.texts(FACT, "layers_block_type")
    if kinds is not None and len(kinds) == layers and {"moe", "mlp"} & set(kinds):
        return tuple({"mlp": "dense", "moe": "moe"}.get(k, "none") for k in kinds)
    rows = text.rows(FACT, "block_configs")
    if rows is not None and len(rows) == layers:
        parts = [row.section("ffn") for row in rows]
        return tuple("none" if p is None or p.flag(FACT, "no_op") else "dense" for p in parts)
    return None


def _sparse_layers(text: View, layers: int) -> set[int]:
    """The layers with experts, by whichever field says so; all of them where none does."""
    every = range(layers)
    listed = _enumerated(text)
    if listed is None:
        listed = text.wholes(FACT, "moe_layers", "moe_layers_enum", most=MOST_EXPERTS)
    if listed:
        return set(listed)
    if {"moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval"} & text.data.keys():
        return _between(text, layers)
    step = text.whole(FACT, "interleave_moe_layer_step", least=0)
    if step:  # Llama 4: every step-th, counted from 1
        return {i for i in every if (i + 1) % step == 0}
    period = text.whole(FACT, "expert_layer_period", least=1)
    if period:  # Jamba
        offset = text.whole(FACT, "expert_layer_offset") or 0
        return {i for i in every if i % period == offset}
    first = text.whole(FACT, "first_k_dense_replace", "num_dense_layers")
    frequency = text.whole_or_list(FACT, "moe_layer_freq", most=MOST_EXPERTS)
    if isinstance(frequency, tuple):  # MiMo-V2: one flag per layer
        return {i for i, flag in enumerate(frequency) if flag}
    if first is not None or frequency is not None:  # DeepSeek, GLM, Kimi; AFMoE and LFM2 count dense layers
        begin, every_nth = first or 0, frequency or 1
        return {i for i in every if i >= begin and i % every_nth == 0}
    sparse_step = text.whole(FACT, "decoder_sparse_step") or 1
    dense = set(text.wholes(FACT, "mlp_only_layers") or ())
    return {i for i in every if i not in dense and (i + 1) % sparse_step == 0}  # Qwen2-MoE, Qwen3-MoE


def _enumerated(text: View) -> tuple[int, ...] | None:
    """Step-3's `moe_layers_enum`, a string of numbers between commas."""
    written = text.data.get("moe_layers_enum")
    parts = [part.strip() for part in written.split(",")] if isinstance(written, str) else []
    if not parts or len(parts) > MOST_LAYERS or not all(p.isascii() and p.isdigit() and len(p) < 9 for p in parts):
        return None
    text.ledger.used.add(f"{text.path}moe_layers_enum")
    text.ledger.derived(FACT, f"config.json: {text.path}moe_layers_enum")
    return tuple(int(part) for part in parts)


def _between(text: View, layers: int) -> set[int]:
    """ERNIE: every interval-th layer counted from 1, from a first to a last (-1: the last there is).

    Its vision form gives a number for text and one for images: a layer with either has experts.
    """
    starts = text.wholes(FACT, "moe_layer_start_index", most=MOST_EXPERTS) or (0,)
    ends = text.wholes(FACT, "moe_layer_end_index", most=MOST_EXPERTS) or (-1,)
    step = text.whole(FACT, "moe_layer_interval", least=1) or 1
    last = max(layers - 1 if end == -1 else end for end in ends)
    return {i for i in range(layers) if min(starts) <= i <= last and (i + 1) % step == 0}


def _sizes(text: View, pattern: tuple[str, ...], intermediate: int | None) -> tuple[int, ...]:
    """Each layer's dense intermediate size; 0 where it has no dense part or no field says."""
    dense = text.whole("architecture.dense_intermediate_size", "intermediate_size_mlp") or intermediate or 0
    written = text.wholes("architecture.intermediate_size", "intermediate_size")
    if written is not None and len(written) == len(pattern) > 1:
        return tuple(s if "dense" in k else 0 for s, k in zip(written, pattern, strict=True))
    rows = text.rows(FACT, "block_configs")
    if rows is not None and len(rows) == len(pattern):
        hidden = text.whole("architecture.hidden_size", "hidden_size") or 0
        return tuple(_decilm_size(row, hidden) for row in rows)
    return tuple(dense if "dense" in kind else 0 for kind in pattern)


def _decilm_size(row: View, hidden: int) -> int:
    """DeciLM's rule: two thirds of twice the multiple, rounded up to 256 (its configuration's own function)."""
    part = row.section("ffn")
    mult = part.number("architecture.intermediate_size", "ffn_mult") if part else None
    if part is None or part.flag(FACT, "no_op") or mult is None or mult <= 0:
        return 0
    size = int(2 * mult * hidden / 3)
    return -(-size // 256) * 256
