"""The weights of image towers that the engine loads beside the language model; one function per family of towers."""

from __future__ import annotations

from math import prod
from typing import Any

from seatrial.estimate.matrices import Matrix
from seatrial.estimate.matrices_clip import TYPES, clip_matrices
from seatrial.estimate.matrices_place import place, size_of
from seatrial.estimate.model import Lacking, Model, NotModelled


def tower_matrices(model: Model) -> list[Matrix]:
    """The tower and what joins it to the language model; raises NotModelled for a family without a formula."""
    vision = model.vision()
    top = model.card.architecture.model_type or ""
    if not vision:
        return []
    if top.startswith(("qwen3_vl", "qwen3_5")):
        return _qwen(vision)
    if top.startswith("gemma4"):
        return _gemma4(model, vision)
    if "vt_hidden_size" in vision:
        return _moonvit(model, vision)
    if top in TYPES:
        return clip_matrices(model, vision)
    raise NotModelled(f"the weights of the image tower of model_type {top!r}")


def _qwen(vision: dict[str, Any]) -> list[Matrix]:
    """Qwen3-VL's tower: attention and MLP are cut by tensor parallelism, the patch embedding is not."""
    hidden, depth = size_of(vision, "hidden_size"), size_of(vision, "depth")
    inner, out = size_of(vision, "intermediate_size"), size_of(vision, "out_hidden_size")
    patch = (
        size_of(vision, "in_channels", "in_chans")
        * size_of(vision, "temporal_patch_size")
        * size_of(vision, "patch_size") ** 2
    )
    merged = hidden * size_of(vision, "spatial_merge_size") ** 2
    made = place("patch_embed.proj", hidden, patch)
    made += place("pos_embed", size_of(vision, "num_position_embeddings") * hidden, 1, bias=False)
    deep = vision.get("deepstack_visual_indexes") or []
    if not isinstance(deep, list):
        raise Lacking("vision_config.deepstack_visual_indexes", "is no list in config.json")
    for name, wide, norm in [("merger", 1, hidden)] + [("deepstack_merger_list", 1, merged)] * len(deep):
        made += place(f"{name}.norm", norm, 1, bias=True)
        made += place(f"{name}.linear_fc1", merged * wide, merged, "rows", projector=True)
        made += place(f"{name}.linear_fc2", out, merged * wide, "cols", projector=True)
    made += place("blocks.norm", hidden, 1, layers=2 * depth)
    made += place("blocks.attn.qkv", 3 * hidden, hidden, "rows", depth)
    made += place("blocks.attn.proj", hidden, hidden, "cols", depth)
    made += place("blocks.mlp.linear_fc1", inner, hidden, "rows", depth)
    return made + place("blocks.mlp.linear_fc2", hidden, inner, "cols", depth)


def _gemma4(model: Model, vision: dict[str, Any]) -> list[Matrix]:
    """Gemma 4's tower is transformers' own class in the engine: whole on every rank."""
    hidden, depth = size_of(vision, "hidden_size"), size_of(vision, "num_hidden_layers")
    inner, dim = size_of(vision, "intermediate_size"), size_of(vision, "head_dim")
    heads, kv = size_of(vision, "num_attention_heads"), size_of(vision, "num_key_value_heads")
    made = place(
        "patch_embedder.position_embedding_table",
        2 * size_of(vision, "position_embedding_size") * hidden,
        1,
        bias=False,
    )
    made += place("patch_embedder.input_proj", hidden, 3 * size_of(vision, "patch_size") ** 2, bias=False)
    for rows, cols in ((heads * dim, hidden), (kv * dim, hidden), (kv * dim, hidden), (hidden, heads * dim)):
        made += place("encoder.layers.self_attn", rows, cols, layers=depth, bias=False)
    for rows, cols in ((inner, hidden), (inner, hidden), (hidden, inner)):
        made += place("encoder.layers.mlp", rows, cols, layers=depth, bias=False)
    made += place("encoder.layers.norm", hidden, 1, layers=4 * depth, bias=False)
    made += place("encoder.layers.qk_norm", dim, 1, layers=2 * depth, bias=False)
    return made + place("embed_vision.embedding_projection", model.hidden(), hidden, bias=False, projector=True)


def _moonvit(model: Model, vision: dict[str, Any]) -> list[Matrix]:
    """Kimi K2.5's MoonViT: blocks cut by tensor parallelism, the projector whole on every rank."""
    hidden, depth, inner = (
        size_of(vision, "vt_hidden_size"),
        size_of(vision, "vt_num_hidden_layers"),
        size_of(vision, "vt_intermediate_size"),
    )
    places = size_of(vision, "init_pos_emb_height") * size_of(vision, "init_pos_emb_width")
    kernel = vision.get("merge_kernel_size")
    if not isinstance(kernel, list) or not all(isinstance(k, int) for k in kernel):
        raise Lacking("vision_config.merge_kernel_size", "is missing from config.json")
    merged = hidden * prod(kernel)
    made = place("patch_embed.proj", hidden, 3 * size_of(vision, "patch_size") ** 2)
    made += place("patch_embed.pos_emb", places * hidden, 1, bias=False)
    made += place("norm", hidden, 1, layers=2 * depth + 2)
    made += place("encoder.blocks.wqkv", 3 * hidden, hidden, "rows", depth)
    made += place("encoder.blocks.wo", hidden, hidden, "cols", depth)
    made += place("encoder.blocks.mlp.fc0", inner, hidden, "rows", depth)
    made += place("encoder.blocks.mlp.fc1", hidden, inner, "cols", depth)
    made += place("mm_projector.linear_1", merged, merged, projector=True)
    return made + place("mm_projector.linear_2", model.hidden(), merged, projector=True)
