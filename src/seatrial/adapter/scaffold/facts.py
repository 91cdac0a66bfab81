"""What the decoder template needs to know of a checkpoint, and what it cannot know.

In: config.json, the tensors. Out: `DecoderFacts`: Python expressions over `config`, switches, the weight mapping, and
`Open` places. The rule: whatever a shape or a field says is used; what neither says is open, never guessed. A field of
config.json that the written file does not read is open too, unless it is off (null, false, empty) or known to change
nothing at inference.

One translation whose parts refer to each other, hence the length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.adapter.scaffold.roles import Kind, NamedTensor, kinds_of
from seatrial.adapter.scaffold.undecided import Open
from seatrial.checkpoint.fields import DROPPED
from seatrial.checkpoint.mtp import COUNTS
from seatrial.core.record import Record

FIELDS: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "kv_heads": ("num_key_value_heads", "n_head_kv", "num_kv_heads", "n_kv_heads"),
    "head_dim": ("head_dim", "kv_channels"),
    "intermediate": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "vocab": ("vocab_size",),
    "eps": ("rms_norm_eps", "norm_eps"),
    "act": ("hidden_act", "hidden_activation"),
    "positions": ("max_position_embeddings", "max_sequence_length", "n_positions"),
    "experts": ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"),
    "top_k": ("num_experts_per_tok", "moe_topk", "num_experts_per_token", "moe_k"),
    "moe_intermediate": ("moe_intermediate_size", "expert_intermediate_size"),
}
# Read by the engine for every model: rotary parameters go into `rope_parameters`, the rest is its own business.
ENGINE = {
    "rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor", "tie_word_embeddings",
    "quantization_config", "compression_config", "is_decoder", "model_max_length", "attention_bias", "mlp_bias",
    "qkv_bias", "use_qk_norm", "sliding_window", "use_sliding_window", "max_window_layers",
}  # fmt: skip
NEUTRAL = frozenset(
    name
    for group, names in DROPPED.items()
    if group.startswith(("training", "generation", "bookkeeping"))
    for name in names
)
MOE_READ = {
    "norm_topk_prob", "scoring_func", "n_group", "topk_group", "routed_scaling_factor", "first_k_dense_replace",
    "mlp_only_layers", "decoder_sparse_step", "shared_expert_intermediate_size", "n_shared_experts",
    "moe_layer_freq", "topk_method",
}  # fmt: skip


class DecoderFacts(Record):
    """`of` maps a word of FIELDS to the config's own field name ("" if it has none), `expr` to the Python expression
    that reads it; other expressions are Python text too.

    `open` are places at the top of the model's `__init__`, `inline` those that stand in an expression.
    """

    of: dict[str, str]
    expr: dict[str, str]
    kinds: tuple[Kind, ...]
    open: tuple[Open, ...]
    head_dim: str
    qk_norm: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    windows: bool
    moe: bool
    dense_test: str = ""
    renormalize: str = ""
    scoring: str = ""
    correction_bias: bool = False
    grouped: bool = False
    scaled: bool = False
    shared_size: str = ""
    shared_gate: bool = False
    assumed: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    inline: tuple[Open, ...] = ()


class _Reader:
    def __init__(self, config: Mapping[str, Any], tensors: list[NamedTensor]) -> None:
        self.config = config
        self.of = {word: next((n for n in names if config.get(n) is not None), "") for word, names in FIELDS.items()}
        self.open: list[Open] = []
        self.assumed: list[str] = []
        layers = self.number("layers")
        self.kinds = kinds_of(tensors, layers, bool(config.get("tie_word_embeddings")))
        self.layers = layers or 0
        self.by_target = {k.target: k for k in self.kinds if k.target}

    def number(self, word: str) -> int | None:
        value = self.config.get(self.of[word]) if self.of[word] else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def expression(self, word: str) -> str:
        """Python that reads the field; where the config has none, the question."""
        if self.of[word]:
            return f"config.{self.of[word]}"
        return f'undecided("config.json has no {" or ".join(FIELDS[word])}")'

    def has(self, target: str) -> bool:
        return target in self.by_target

    def ask(self, question: str, *evidence: str) -> None:
        self.open.append(Open(question=question, evidence=evidence))

    def shape(self, target: str) -> tuple[int, ...]:
        kind = self.by_target.get(target)
        return kind.shape if kind is not None else ()


def decoder_facts(config: Mapping[str, Any], tensors: Iterable[NamedTensor]) -> DecoderFacts:
    """Facts of a text decoder. `config` is the language model's section; nothing is looked up elsewhere."""
    reader = _Reader(config, list(tensors))
    _fields(reader)
    qk_norm = _norms(reader)
    moe = any("mlp.experts." in t for t in reader.by_target)
    more = _moe(reader) if moe else {}
    if not reader.of["intermediate"] and (not moe or more["dense_test"] or not reader.of["moe_intermediate"]):
        reader.ask(f"config.json has no {' or '.join(FIELDS['intermediate'])}.")
    windows = _windows(reader)
    _weights(reader, moe)
    off = _unread(reader, moe, windows)
    layer = "model.layers.*."
    return DecoderFacts(
        of=reader.of,
        expr={word: reader.expression(word) for word in FIELDS},
        kinds=reader.kinds,
        head_dim=_head_dim(reader),
        qk_norm=qk_norm,
        qkv_bias=reader.has(f"{layer}self_attn.q_proj.bias"),
        o_bias=reader.has(f"{layer}self_attn.o_proj.bias"),
        mlp_bias=reader.has(f"{layer}mlp.up_proj.bias"),
        windows=windows,
        moe=moe,
        off=off,
        open=tuple(reader.open),
        assumed=tuple(reader.assumed),
        **more,
    )


def _fields(reader: _Reader) -> None:
    for word in ("hidden", "heads", "layers", "vocab", "eps", "act", "positions"):
        if not reader.of[word]:
            names = " or ".join(FIELDS[word])
            near = sorted(k for k in reader.config if word in k)[:4]
            reader.ask(f"config.json has no {names}.", f"It has {', '.join(near) or 'nothing like it'}.")
    activation = reader.config.get(reader.of["act"]) if reader.of["act"] else None
    if activation is not None and activation != "silu":
        reader.ask(f"The activation is {activation!r}; this file has SiluAndMul.", "config.json says so.")


def _head_dim(reader: _Reader) -> str:
    """An expression over `config`; proven against the shape of q_proj."""
    heads, hidden = reader.number("heads"), reader.number("hidden")
    rows = (reader.shape("model.layers.*.self_attn.q_proj.weight") or (0,))[0]
    if reader.of["head_dim"]:
        return reader.expression("head_dim")
    by_hidden = f"{reader.expression('hidden')} // {reader.expression('heads')}"
    if heads and hidden and rows and rows != hidden:
        return str(rows // heads)
    return by_hidden


def _norms(reader: _Reader) -> bool:
    layer = "model.layers.*."
    q_norm = reader.shape(f"{layer}self_attn.q_norm.weight")
    heads = reader.number("heads")
    rows = (reader.shape(f"{layer}self_attn.q_proj.weight") or (0,))[0]
    if q_norm and heads and rows and q_norm[0] != rows // heads:
        reader.ask(
            "Over what does q_norm normalise?",
            f"Its weight has {q_norm[0]} elements, a head has {rows // heads}; a norm over all heads must be split.",
        )
    for name in ("input_layernorm", "post_attention_layernorm"):
        if not reader.has(f"{layer}{name}.weight"):
            reader.ask(
                f"Where do the norms of a layer stand? This file has {name} before its block.",
                f"The checkpoint has no such weight; its norms are {', '.join(_norm_names(reader)) or 'none'}.",
            )
        if reader.has(f"{layer}{name}.bias"):
            reader.ask(f"{name} has a bias: is it a LayerNorm?", "This file has RMSNorm, which has none.")
    return bool(q_norm)


def _norm_names(reader: _Reader) -> list[str]:
    return sorted({k.pattern.split(".*.")[-1] for k in reader.kinds if "norm" in k.pattern and ".*." in k.pattern})


def _windows(reader: _Reader) -> bool:
    types = reader.config.get("layer_types")
    used = reader.config.get("use_sliding_window", True) and reader.config.get("sliding_window")
    if isinstance(types, list) and set(types) <= {"full_attention", "sliding_attention"}:
        return "sliding_attention" in types
    if isinstance(types, list):
        reader.ask("What are the layers of layer_types?", f"It names {', '.join(sorted(map(str, set(types))))}.")
    elif used:
        size = reader.config["sliding_window"]
        reader.ask("Which layers attend within a window?", f"sliding_window is {size} and there are no layer_types.")
    return False


def _moe(reader: _Reader) -> dict[str, Any]:
    config = reader.config
    layer = "model.layers.*.mlp."
    found: dict[str, Any] = {"dense_test": _dense_test(reader)}
    inline: Open | None = None
    for word in ("experts", "top_k"):
        if not reader.of[word]:
            reader.ask(f"config.json has no {' or '.join(FIELDS[word])}.")
    bias = reader.has(f"{layer}gate.e_score_correction_bias")
    found["correction_bias"] = bias
    scoring = config.get("scoring_func")
    if scoring is None:
        if bias:
            reader.ask("How does the router score: softmax or sigmoid?", "No scoring_func, but a correction bias.")
        else:
            reader.assumed.append("the router scores by softmax: config.json has no scoring_func, the router no bias")
        found["scoring"] = '"softmax"'
    else:
        found["scoring"] = "config.scoring_func"
    if "norm_topk_prob" in config:
        found["renormalize"] = "config.norm_topk_prob"
    else:
        question = Open(question="Are the chosen experts' weights normalised?", evidence=("No norm_topk_prob.",))
        found["renormalize"] = question.call(12)
        inline = question
    groups = config.get("n_group")
    found["grouped"] = isinstance(groups, int) and groups > 1
    found["scaled"] = config.get("routed_scaling_factor") not in (None, 1, 1.0)
    found |= _shared(reader)
    found["inline"] = (inline,) if inline is not None else ()
    return found


def _shared(reader: _Reader) -> dict[str, Any]:
    layer = "model.layers.*.mlp."
    if not any(t.startswith(f"{layer}shared_expert.") for t in reader.by_target):
        return {}
    gate = reader.has(f"{layer}shared_expert_gate.weight")
    config = reader.config
    if config.get("shared_expert_intermediate_size"):
        return {"shared_size": "config.shared_expert_intermediate_size", "shared_gate": gate}
    width = (reader.shape(f"{layer}shared_expert.up_proj.weight") or (0,))[0]
    each, count = reader.number("moe_intermediate"), config.get("n_shared_experts")
    if each and isinstance(count, int) and width in (0, each * count):
        size = f"config.{reader.of['moe_intermediate']} * config.n_shared_experts"
        return {"shared_size": size, "shared_gate": gate}
    if width:
        return {"shared_size": str(width), "shared_gate": gate}
    reader.ask("How wide is the shared expert?", "No field says it and only names are known.")
    return {"shared_size": "0", "shared_gate": gate}


def _dense_test(reader: _Reader) -> str:
    """An expression over `config` and `index` that is true for a layer without experts, as the weights have it."""
    config, layers = reader.config, reader.layers
    sparse = {n for k in reader.kinds if k.target and ".mlp.experts." in k.target for n in k.layers}
    dense = set(range(layers)) - sparse
    if not dense:
        return ""
    first = config.get("first_k_dense_replace")
    if isinstance(first, int) and dense == set(range(first)):
        return "index < config.first_k_dense_replace"
    step, only = config.get("decoder_sparse_step", 1) or 1, config.get("mlp_only_layers") or []
    if dense == {i for i in range(layers) if i in only or (i + 1) % step}:
        return "index in config.mlp_only_layers or (index + 1) % config.decoder_sparse_step"
    return f"index in {tuple(sorted(dense))}"


def _weights(reader: _Reader, moe: bool) -> None:
    """Kinds without a place, and places without a kind."""
    for kind in reader.kinds:
        if kind.target == "":
            reader.ask(
                f"What is {kind.pattern}?",
                f"{kind.count} tensors, {kind.dtype} of shape {list(kind.shape)}; first {kind.example}.",
            )
    layer = "model.layers.*."
    needed = [f"{layer}self_attn.{n}_proj" for n in "qkvo"] + ["model.embed_tokens", "model.norm"]
    if not moe:
        needed += [f"{layer}mlp.{n}_proj" for n in ("gate", "up", "down")]
    else:
        needed.append(f"{layer}mlp.gate")
    if not reader.config.get("tie_word_embeddings"):
        needed.append("lm_head")
    modules = {k.rpartition(".")[0] for k in reader.by_target}
    for name in needed:
        if name not in modules:
            reader.ask(f"Which weights are {name}?", "No tensor of the checkpoint has a name that says so.")


def _unread(reader: _Reader, moe: bool, windows: bool) -> tuple[str, ...]:
    """Fields that the written file does not read; those that are on are open."""
    read = {name for name in reader.of.values() if name} | ENGINE | NEUTRAL | (MOE_READ if moe else set())
    # Layers of the draft come after the model's own and change none of its numbers; the draft's file reads these.
    read |= {"layer_types", *COUNTS}
    off = []
    for name, value in sorted(reader.config.items()):
        if name in read or name.startswith("_"):
            continue
        if value is None or value is False or value in ("", [], {}):
            off.append(name)
            continue
        text = str(value)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        reader.ask(f"What does {name} change?", f"config.json has {name} = {shown}; nothing in this file reads it.")
    return tuple(off)
