"""The weights around mixers and feed-forward parts: norms, learned positions, Gemma 4's inputs per layer."""

from __future__ import annotations

from seatrial.estimate.families import BERTS, family
from seatrial.estimate.matrices import Matrix, vector
from seatrial.estimate.model import Lacking, Model, NotModelled, need


def norm(model: Model, module: str, layers: tuple[int, ...]) -> Matrix:
    """A norm of the hidden size; the last one where `layers` is empty. A LayerNorm's bias counts as a second vector."""
    copies = {"weight": 1, "bias": 2, "none": 0}[family(model).norm]
    return vector("norm", module, copies * model.hidden(), layers, stage="every" if layers else "last")


def layer_norms(model: Model) -> list[Matrix]:
    """The norms of the hidden size in all layers."""
    if model.kind() != "nemotron-nas":
        return [norm(model, "layernorm", tuple(range(model.layers())))] * frame_norms(model)
    # DeciLM: a block without attention or without a feed-forward part lacks the norm before it too.
    card = model.card
    mixing = tuple(i for i, m in enumerate(card.attention.pattern) if card.attention.mixers[m].kind != "none")
    feeding = tuple(i for i, kind in enumerate(card.feed_forward.pattern) if kind != "none")
    both = (("input_layernorm", mixing), ("post_attention_layernorm", feeding))
    return [norm(model, name, layers) for name, layers in both if layers]


def frame_norms(model: Model) -> int:
    """How many norms of the hidden size a layer has."""
    if model.kind() == "falcon":
        # Two in the new architecture (unless it says one) and where attention and MLP are not parallel.
        stated = model.number("num_ln_in_parallel_attn")
        if model.flag("new_decoder_architecture"):
            return stated or 2
        return 1 if model.flag("parallel_attn") in (None, True) else 2
    if model.kind() == "hyperclovax":
        return 4 if model.flag("use_post_norm") else 2
    return family(model).norms


def positions(model: Model) -> list[Matrix]:
    """Learned position embeddings, whole on every rank; BERT's, cut like its words, and those of token types."""
    if model.kind() in BERTS:
        tables = ("max_position_embeddings", "type_vocab_size")
        return [
            Matrix(
                part="embedding", module=name, rows=(need(model.number(name), name),), cols=model.hidden(),
                split="vocab", stage="first", tokens="none",
            )
            for name in tables
        ]  # fmt: skip
    beyond = family(model).positions
    if beyond is None:
        return []
    if model.kind() == "opt" and model.number("word_embed_proj_dim") not in (None, model.hidden()):
        raise NotModelled("word_embed_proj_dim: OPT's projections between embedding and hidden size")
    rows = need(model.number("max_position_embeddings", "n_positions"), "max_position_embeddings") + beyond
    return [
        Matrix(
            part="embedding", module="embed_positions", rows=(rows,), cols=model.hidden(), stage="first", tokens="none"
        )
    ]


def per_layer_inputs(model: Model) -> list[Matrix]:
    """Gemma 4 (E2B, E4B): an embedding for every layer beside the first one, and what brings it into each layer."""
    size = model.number("hidden_size_per_layer_input")
    if model.kind() != "gemma4_text" or not size:
        return []
    if model.flag("use_double_wide_mlp") and model.card.attention.kv_shared_layers:
        raise NotModelled("use_double_wide_mlp: the wider MLPs of layers that share a cache")
    layers, hidden = model.layers(), model.hidden()
    words = model.number("vocab_size_per_layer_input")
    if words is None:
        raise Lacking("vocab_size_per_layer_input", "is missing from config.json")
    every = tuple(range(layers))
    return [
        Matrix(
            part="embedding", module="embed_tokens_per_layer", rows=(words,), cols=layers * size, split="vocab",
            stage="first", tokens="none",
        ),
        Matrix(
            part="embedding", module="per_layer_model_projection", rows=(layers * size,), cols=hidden, split="rows",
            stage="first",
        ),
        vector("norm", "per_layer_projection_norm", size, (), stage="first"),
        Matrix(part="mlp", module="per_layer_input_gate", rows=(size,), cols=hidden, layers=every),
        Matrix(part="mlp", module="per_layer_projection", rows=(hidden,), cols=size, layers=every),
        vector("norm", "post_per_layer_input_norm", hidden, every),
    ]  # fmt: skip
