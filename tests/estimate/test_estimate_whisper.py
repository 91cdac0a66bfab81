"""Whisper: the encoder once for each clip, cross-attention over all it heard at every step, weights as the engine's."""

from __future__ import annotations

import json

import pytest
from tests.estimate.test_estimate_zoo import KEPT, RULES, read

from seatrial.estimate import Layout, Serving, read_model
from seatrial.estimate.compute import lay_out
from seatrial.estimate.compute_audio import clip_parts, encoder_parts
from seatrial.estimate.model import Lacking, NotModelled
from seatrial.estimate.weights import weight_bytes

NAME = "WhisperForConditionalGeneration"
SERVING = Serving(max_model_len=448)
COUNTED = 107_670_220_800


@pytest.fixture
def whisper(tmp_path):
    return read(NAME, tmp_path)


def flops(parts, name=""):
    return sum(p.flops for p in parts if name in p.part)


def test_flops_of_clips_and_tokens_are_what_torch_counts(whisper):
    # torch 2.13's FlopCounterMode over transformers' class: 2 clips, 200 tokens each (bench/plan_flops.py --new 200).
    work = lay_out(whisper, Layout(), SERVING, RULES)
    step = work.step(2, 200, 0, causal=False, all_logits=True)
    assert flops(step) + flops(encoder_parts(whisper, Layout(), 2)) == COUNTED


def test_every_query_sees_all_that_was_heard_and_nothing_of_it_grows(whisper):
    work = lay_out(whisper, Layout(), SERVING, RULES)
    early, late = work.step(1, 1, 10, decode=True), work.step(1, 1, 400, decode=True)
    assert flops(early, "cross-attention core") == flops(late, "cross-attention core") == 4 * 4 * 384 * 1500
    [cross] = [p for p in late if p.part == "cross-attention core"]
    assert cross.cache_bytes == 4 * 1500 * 2 * 384 * 2
    assert flops(late, "attention core") > flops(early, "attention core")


def test_ranks_share_the_encoder_and_its_bytes(whisper):
    one, two = encoder_parts(whisper, Layout(), 1), encoder_parts(whisper, Layout(tp=2), 1)
    assert flops(one, "audio attention core") == 2 * flops(two, "audio attention core")
    assert flops(one, "cross-attention keys") == 2 * flops(two, "cross-attention keys")
    # The convolutions are whole on each.
    assert flops(two, "audio encoder") > flops(one, "audio encoder") / 2


@pytest.mark.parametrize("name", ["max_source_positions", "num_mel_bins", "encoder_layers", "decoder_ffn_dim"])
def test_a_lacking_field_is_named(tmp_path, name):
    config = {k: v for k, v in KEPT[NAME]["config"].items() if k != name}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Lacking, match=name):
        weight_bytes(read_model(tmp_path), Layout())


def test_other_audio_encoders_are_named_and_no_decoder_has_a_clip(make):
    assert clip_parts(make(), Layout()) == ()
    with pytest.raises(NotModelled, match="audio encoder"):
        encoder_parts(make(), Layout(), 1)
