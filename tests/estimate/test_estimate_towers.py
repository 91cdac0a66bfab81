"""What images add to a prefill: products per patch, attention within an image, the tokens behind the merger."""

from __future__ import annotations

import pytest

from seatrial.estimate import Layout
from seatrial.estimate.compute_towers import tower_parts
from seatrial.estimate.model import Lacking, NotModelled

H, INNER, DEPTH, PATCH, OUT = 64, 128, 3, 8, 256
VISION = {
    "hidden_size": H, "intermediate_size": INNER, "depth": DEPTH, "num_heads": 4, "patch_size": PATCH, "in_channels": 3,
    "temporal_patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": OUT, "num_position_embeddings": 100,
    "deepstack_visual_indexes": [1],
}  # fmt: skip


def of(make, images=1, patches=36, tp=1, **changes):
    model = make(model_type="qwen3_vl", vision_config={**VISION, **changes})
    return {p.part: p for p in tower_parts(model, Layout(tp=tp), images, patches)}


def test_a_tower_adds_up_by_hand(make):
    parts = of(make)
    block = 3 * H * H + H * H + 2 * INNER * H
    assert parts["image vision"].flops == 2 * 36 * (3 * 2 * PATCH**2 * H + DEPTH * block)
    merger = (4 * H) * (4 * H) + OUT * 4 * H
    assert parts["image projector"].flops == 2 * (36 // 4) * 2 * merger  # the merger and one deepstack merger
    assert parts["image attention core"].flops == 4 * H * DEPTH * 36 * 36


def test_images_do_not_see_each_other_and_ranks_share_the_work(make):
    one, three = of(make), of(make, images=3)
    assert all(three[n].flops == 3 * one[n].flops for n in one)
    halves = of(make, tp=2)
    assert halves["image attention core"].flops * 2 == one["image attention core"].flops
    assert one["image vision"].flops / 2 < halves["image vision"].flops < one["image vision"].flops


def test_what_is_not_known_of_a_tower_is_named(make):
    with pytest.raises(Lacking, match="spatial_merge_size"):
        of(make, spatial_merge_size=None)
    with pytest.raises(NotModelled, match="llava"):
        tower_parts(make(model_type="llava", vision_config=VISION), Layout(), 1, 36)
    assert tower_parts(make(), Layout(), 1, 36) == ()
