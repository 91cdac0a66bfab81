"""The weights of CLIP and SigLIP as image towers, and of what joins them to the language model.

In: a model of type llava, llava_next, llava_next_video, gemma3 or paligemma. Out: its tower's matrices as vLLM 0.32
builds them (models/clip.py, siglip.py): blocks are cut by tensor parallelism, embeddings and norms are whole. Layers
behind the one whose output is taken are not built, and then there is no norm behind them either.
"""

from __future__ import annotations

from typing import Any

from seatrial.estimate.matrices import Matrix, Split
from seatrial.estimate.matrices_place import place, size_of
from seatrial.estimate.model import Lacking, Model, NotModelled

TYPES = ("llava", "llava_next", "llava_next_video", "gemma3", "paligemma")
# What LLaVA takes where config.json does not say (transformers' default): the last layer but one.
FEATURE_LAYER = -2


def clip_matrices(model: Model, vision: dict[str, Any]) -> list[Matrix]:
    """Raises Lacking for a field, NotModelled for another tower than these two."""
    kind, top = vision.get("model_type"), model.card.architecture.model_type or ""
    if kind not in ("clip_vision_model", "siglip_vision_model"):
        raise NotModelled(f"the weights of the image tower of model_type {kind!r} in {top}")
    hidden, inner, depth = (size_of(vision, k) for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    built = depth if not top.startswith("llava") else _built(model, depth)
    clip = kind == "clip_vision_model"
    patch = size_of(vision, "patch_size")
    places = (size_of(vision, "image_size") // patch) ** 2 + clip
    made = place("embeddings.patch_embedding", hidden, 3 * patch * patch, bias=not clip)
    made += place("embeddings.position_embedding", places * hidden, 1, bias=False)
    made += place("embeddings.class_embedding", hidden, 1, bias=False) if clip else []
    made += place("pre_layrnorm", 2 * hidden, 1, bias=False) if clip else []
    made += place("post_layernorm", 2 * hidden, 1, bias=False) if built == depth else []
    made += place("layers.layer_norms", 4 * hidden, 1, layers=built, bias=False)
    made += place("layers.self_attn.qkv_proj", 3 * hidden, hidden, "rows", built)
    made += place("layers.self_attn.out_proj", hidden, hidden, "cols", built)
    made += place("layers.mlp.fc1", inner, hidden, "rows", built)
    made += place("layers.mlp.fc2", hidden, inner, "cols", built)
    return made + _joined(model, vision, top, hidden)


def _built(model: Model, depth: int) -> int:
    """How many layers are there: as many as the deepest output that is taken needs."""
    layer = model.config.get("vision_feature_layer", FEATURE_LAYER)
    named = layer if isinstance(layer, list) else [layer]
    taken: list[int] = [n for n in named if type(n) is int and -depth <= n < depth]
    if not taken or len(taken) < len(named):
        raise Lacking("vision_feature_layer", f"is {str(layer)[:40]} for {depth} layers")
    return max(n if n >= 0 else depth + n + 1 for n in taken)


def _joined(model: Model, vision: dict[str, Any], top: str, hidden: int) -> list[Matrix]:
    text = model.hidden()
    if top == "gemma3":
        made = place("mm_input_projection_weight", text, hidden, bias=False, projector=True)
        return made + place("mm_soft_emb_norm", hidden, 1, bias=False)
    if top == "paligemma":
        return place("linear", size_of(vision, "projection_dim"), hidden, projector=True)
    bias = model.config.get("multimodal_projector_bias", True) is True
    # Of the three, LLaVA-NeXT-Video's class alone has plain layers there.
    first: Split = "none" if top == "llava_next_video" else "rows"
    second: Split = "none" if top == "llava_next_video" else "cols"
    made = place("linear_1", text, hidden, first, bias=bias, projector=True)
    made += place("linear_2", text, text, second, bias=bias, projector=True)
    return made + (place("image_newline", text, 1, bias=False) if top == "llava_next" else [])
