"""The weights of Whisper: an audio encoder, and a decoder whose layers also attend to what the encoder heard.

In: a model of type whisper. Out: its matrices as vLLM 0.32 builds them (models/whisper.py): fused projections have a
bias for K too, the embedding is whole on every rank and is the head, convolutions and positions are not cut. What a
clip passes once has the tokens "image".
"""

from __future__ import annotations

from seatrial.estimate.matrices import Matrix, Part, linear, vector
from seatrial.estimate.model import Lacking, Model, altered, need

# Of any field: far above any model.
MOST = 10_000_000
MOST_LAYERS = 10_000


def whisper_matrices(model: Model) -> list[Matrix]:
    """Encoder, then decoder; raises Lacking for a field that config.json does not state."""
    width, told = model.hidden(), tuple(range(model.layers()))
    kv = linear("attention", "encoder_attn.kv_proj", (width, width), width, told, "rows", bias=True)
    return [
        Matrix(part="embedding", module="embed_tokens", rows=(model.vocabulary(),), cols=width, tokens="none"),
        vector("embedding", "decoder.embed_positions", field(model, "max_target_positions") * width, ()),
        *encoder_matrices(model),
        *_block("attention", "mlp", "norm", width, field(model, "decoder_ffn_dim"), told),
        linear("attention", "encoder_attn.q_proj", width, width, told, "rows", bias=True),
        altered(kv, tokens="image"),
        linear("attention", "encoder_attn.out_proj", width, width, told, "cols", bias=True),
        vector("norm", "encoder_attn_layer_norm", 2 * width, told),
        vector("norm", "decoder.layer_norm", 2 * width, ()),
    ]


def encoder_matrices(model: Model) -> list[Matrix]:
    """One entry per weight; its layers have numbers of their own, so that they stand outside the decoder's."""
    width = model.hidden()
    layers = field(model, "encoder_layers")
    if layers > MOST_LAYERS:
        raise Lacking("encoder_layers", f"is {layers} in config.json, which no model has")
    block = _block("vision", "vision", "vision", width, field(model, "encoder_ffn_dim"), ())
    # A convolution over three frames is a product of three times the channels.
    made = [
        linear("vision", "encoder.conv1", width, 3 * field(model, "num_mel_bins"), (), "none", bias=True),
        linear("vision", "encoder.conv2", width, 3 * width, (), "none", bias=True),
        vector("vision", "encoder.embed_positions", encoder_tokens(model) * width, ()),
        vector("vision", "encoder.layer_norm", 2 * width, ()),
        *block * layers,
    ]
    return [altered(m, tokens="image" if m.cols > 1 else "none", quantizable=False) for m in made]


def encoder_tokens(model: Model) -> int:
    """What the encoder makes of one clip, however short: it is padded to 30 seconds."""
    return field(model, "max_source_positions")


def _block(part: Part, mlp: Part, norms: Part, width: int, inner: int, layers: tuple[int, ...]) -> list[Matrix]:
    return [
        linear(part, "self_attn.qkv_proj", (width, width, width), width, layers, "rows", bias=True),
        linear(part, "self_attn.out_proj", width, width, layers, "cols", bias=True),
        linear(mlp, "fc1", inner, width, layers, "rows", bias=True),
        linear(mlp, "fc2", width, inner, layers, "cols", bias=True),
        vector(norms, "layer_norms", 4 * width, layers),
    ]


def field(model: Model, name: str) -> int:
    """A number that config.json must state."""
    value = need(model.number(name), name)
    if value > MOST:
        raise Lacking(name, f"is {value} in config.json, which no model has")
    return value
