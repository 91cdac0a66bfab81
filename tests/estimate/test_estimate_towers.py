"""What images add to a prefill: products per patch, attention within an image, the tokens behind the merger."""

from __future__ import annotations

import pytest
from tests.estimate.estimate_base import BASE

from seatrial.estimate import Layout
from seatrial.estimate.compute_towers import tower_parts
from seatrial.estimate.model import Lacking, NotModelled
from seatrial.estimate.weights import weight_bytes

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


LLAVA = {
    "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 128,
                      "num_hidden_layers": 6, "image_size": 28, "patch_size": 14},
}  # fmt: skip


def vision_bytes(model):
    return weight_bytes(model, Layout()).stages[0].parts["vision"]


def test_layers_behind_the_one_that_is_taken_are_not_built(make):
    text = {k: v for k, v in BASE.items() if k not in ("architectures",)}

    def of(**more):
        return vision_bytes(make(**{**LLAVA, "text_config": text, **more}))

    one = of(vision_feature_layer=-2) - of(vision_feature_layer=-3)
    assert one == 2 * (4 * 64 * 64 + 3 * 64 + 64 + 2 * 64 * 128 + 128 + 64 + 4 * 64)
    # With all layers the norm behind them is there too.
    assert of(vision_feature_layer=-1) - of(vision_feature_layer=-2) == one + 2 * 2 * 64
    assert of() == of(vision_feature_layer=-2) == of(vision_feature_layer=[1, 5])


@pytest.mark.parametrize("layer", [9, -9, "last", [], [1, None]])
def test_a_layer_that_is_not_there_is_named(make, layer):
    text = {k: v for k, v in BASE.items() if k not in ("architectures",)}
    with pytest.raises(Lacking, match="vision_feature_layer"):
        vision_bytes(make(**{**LLAVA, "text_config": text, "vision_feature_layer": layer}))


def test_the_steps_of_a_tower_whose_weights_alone_are_known_are_named(make):
    text = {k: v for k, v in BASE.items() if k not in ("architectures",)}
    with pytest.raises(NotModelled, match="llava"):
        tower_parts(make(**{**LLAVA, "text_config": text}), Layout(), 1, 4)
