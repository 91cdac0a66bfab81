"""Images, videos and audio: made on the spot, asked for by what config.json declares, and looked at."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave

import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.gates.matrix import matrix
from seatrial.gates.media import frames, wav
from seatrial.gates.plan import media_of, takes_media

OMNI = {
    "model_type": "omni",
    "thinker_config": {"audio_config": {"d_model": 8}, "vision_config": {"depth": 2}, "video_token_id": 7},
}


def test_the_audio_is_a_second_of_a_tone_that_any_reader_takes():
    with wave.open(io.BytesIO(wav())) as stream:
        assert (stream.getframerate(), stream.getnchannels(), stream.getnframes()) == (16000, 1, 16000)
        samples = struct.unpack("<16000h", stream.readframes(16000))
    crossings = sum(samples[i] < 0 <= samples[i + 1] for i in range(len(samples) - 1))
    assert 438 <= crossings <= 441


def test_the_frames_of_the_video_differ():
    kind, _, data = frames(4).partition(";base64,")
    assert kind == "data:video/jpeg"
    shown = [base64.b64decode(frame) for frame in data.split(",")]
    assert len(set(shown)) == 4
    assert all(frame.startswith(b"\x89PNG") for frame in shown)


@pytest.mark.parametrize(
    ("config", "media"),
    [
        ({"model_type": "llava", "vision_config": {}, "image_token_index": 5}, ("image",)),
        ({"model_type": "qwen2_vl", "vision_config": {}, "video_token_id": 9}, ("image", "video")),
        ({"model_type": "qwen2_audio", "audio_config": {}, "audio_token_index": 3}, ("audio",)),
        (OMNI, ("image", "video", "audio")),
        ({"model_type": "qwen3"}, ()),
    ],
)
def test_the_config_says_which_media_a_model_takes(config, media):
    assert tuple(media_of(config)) == media


@pytest.fixture
def omni(checkpoint):
    (checkpoint / "config.json").write_text(json.dumps(OMNI))
    return checkpoint


def test_a_gate_asks_for_each_medium_and_a_refused_one_fails_it(omni, stand_in_target, engine_home, tmp_path, alive):
    assert takes_media(omni) == ("image", "video", "audio")
    words = {"python": engine_home, "stage": "real", "multimodal": True}
    good = gate(omni, stand_in_target(), scratch=tmp_path / "good", **words)
    assert good.outcome.verdict is Verdict.PASS, good.outcome.reason
    assert [r.name for r in good.facts.requests] == ["text", "image", "video", "audio", "second"]
    assert {"image", "video", "audio"} <= {m.name for m in good.facts.milestones}
    bad = gate(omni, stand_in_target("no-audio"), scratch=tmp_path / "bad", **words)
    assert bad.facts.ending == "false-ready"
    assert "the audio request failed: HTTP 500" in bad.outcome.reason
    assert alive() == []


def test_the_matrix_has_a_row_for_each_medium(omni, stand_in_target, engine_home, tmp_path):
    only = ("multimodal", "video", "audio")
    result = matrix(omni, stand_in_target(), python=engine_home, stage="real", scratch=tmp_path / "m", only=only)
    assert {row.name: row.status for row in result.facts.rows} == dict.fromkeys(only, "supported")
    assert "prompt tokens" in result.facts.rows[0].proofs[0].says


def test_a_medium_the_engine_cannot_decode_is_unsupported_by_its_own_words_and_the_others_stand(
    omni, stand_in_target, engine_home, tmp_path, alive
):
    only = ("audio", "multimodal", "streaming", "video")
    result = matrix(
        omni, stand_in_target("no-audio"), python=engine_home, stage="real", scratch=tmp_path / "m", only=only
    )
    rows = {row.name: row for row in result.facts.rows}
    assert {name: row.status for name, row in rows.items()} == {
        "audio": "unsupported", "multimodal": "supported", "streaming": "supported", "video": "supported",
    }  # fmt: skip
    assert rows["audio"].reason == "the engine lacks the package av: HTTP 500: No module named 'av'"
    assert [q.name for q in result.facts.starts["base"].requests] == ["text", "second"]
    assert alive() == []
