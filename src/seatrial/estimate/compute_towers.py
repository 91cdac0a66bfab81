"""FLOPs and bytes of an image tower in a prefill: its products per patch, its attention over the patches of each image.

In: a model, a layout, images and patches per image. Out: `Part`s that stand before the language model's in a prefill.
Only the towers of `matrices_towers` have formulas. Attention looks both ways: every patch of an image sees all of them.
Compared with torch's FlopCounterMode over transformers' classes by `bench/plan_flops.py --patches` (Qwen3-VL, Qwen3.5,
Gemma 4; MoonViT has the same form and was not).
"""

from __future__ import annotations

from math import prod

from seatrial.estimate.compute import Number, Part
from seatrial.estimate.layout import Layout
from seatrial.estimate.matrices_clip import TYPES
from seatrial.estimate.matrices_place import size_of
from seatrial.estimate.matrices_towers import tower_matrices
from seatrial.estimate.model import Lacking, Model, NotModelled
from seatrial.estimate.schemes import PLAIN
from seatrial.estimate.storage import bytes_on_rank, cut


def tower_parts(model: Model, layout: Layout, images: Number, patches: Number) -> tuple[Part, ...]:
    """Empty for a model without a tower. Raises NotModelled for a tower without a formula, Lacking for a field."""
    vision = model.vision()
    if not vision:
        return ()
    if (top := model.card.architecture.model_type or "") in TYPES:
        raise NotModelled(f"the steps of the image tower of model_type {top!r}")
    size, merged = model.dtype_bytes(), patches / _joined(vision)
    sums = {"vision": [0.0, 0.0, 0.0], "projector": [0.0, 0.0, 0.0]}
    for matrix in tower_matrices(model):
        if matrix.tokens != "image":
            continue
        part = cut(matrix, layout, PLAIN)
        rows, tokens = sum(part.rows), merged if matrix.part == "projector" else patches
        row = sums[matrix.part]
        row[0] += 2.0 * rows * part.cols * images * tokens
        row[1] += bytes_on_rank(matrix, layout, PLAIN, size)
        row[2] += (rows + part.cols) * size * images * tokens
    made = [
        Part(part=f"image {name}", flops=r[0], weight_bytes=r[1], cache_bytes=0, moved_bytes=r[2], wire_bytes=0,
             precision="bf16")
        for name, r in sums.items()
    ]  # fmt: skip
    depth = size_of(vision, "depth", "num_hidden_layers", "vt_num_hidden_layers")
    # Gemma 4's tower is whole on every rank.
    ranks = 1 if (model.card.architecture.model_type or "").startswith("gemma4") else layout.tp
    core = 4.0 * _width(vision) / ranks * depth * images * patches * patches
    made.append(
        Part(part="image attention core", flops=core, weight_bytes=0, cache_bytes=0, moved_bytes=0, wire_bytes=0,
             precision="bf16")
    )  # fmt: skip
    return tuple(made)


def _width(vision: dict[str, object]) -> int:
    """All heads' sizes together."""
    heads, dim = vision.get("num_attention_heads"), vision.get("head_dim")
    if isinstance(heads, int) and isinstance(dim, int):
        return heads * dim
    return size_of(vision, "hidden_size", "vt_hidden_size")


def _joined(vision: dict[str, object]) -> int:
    """How many patches become one token of the language model."""
    kernel = vision.get("merge_kernel_size")
    if isinstance(kernel, list) and kernel and all(isinstance(k, int) and 0 < k < 100 for k in kernel):
        return int(prod(kernel))
    for key in ("spatial_merge_size", "pooling_kernel_size"):
        side = vision.get(key)
        if isinstance(side, int) and not isinstance(side, bool) and 0 < side < 100:
            return side * side
    raise Lacking("vision_config.spatial_merge_size", "is missing from config.json")
