"""Where there are shards: the shapes are checked against them, and names stand in where a shape is lacking."""

from __future__ import annotations

import json

import pytest
from tests.estimate.estimate_base import BASE
from tests.shards import write_shard

from seatrial.core.errors import EngineError
from seatrial.core.quantity import Quantity, Source
from seatrial.estimate import Layout, Serving, engine_rules, make_plan, read_model
from seatrial.estimate.engine_answer import read_answer, request

DEVICE = Quantity(value=2**30, unit="bytes", source=Source.DECLARED, note="test")


def tensors(layers=4, h=256, i=512, v=1024):
    out = {"model.embed_tokens.weight": ("BF16", [v, h]), "lm_head.weight": ("BF16", [v, h])}
    out["model.norm.weight"] = ("BF16", [h])
    for n in range(layers):
        at = f"model.layers.{n}"
        for name, shape in (("q", [256, h]), ("k", [64, h]), ("v", [64, h]), ("o", [h, 256])):
            out[f"{at}.self_attn.{name}_proj.weight"] = ("BF16", shape)
        for name, shape in (("gate", [i, h]), ("up", [i, h]), ("down", [h, i])):
            out[f"{at}.mlp.{name}_proj.weight"] = ("BF16", shape)
        for name in ("input", "post_attention"):
            out[f"{at}.{name}_layernorm.weight"] = ("BF16", [h])
    return out


def checkpoint(tmp_path, held, **changes):
    (tmp_path / "config.json").write_text(json.dumps({**BASE, "vocab_size": 1024, **changes}))
    write_shard(tmp_path / "model.safetensors", held)
    return read_model(tmp_path)


def plan(model, **layout):
    return make_plan(model, Layout(**layout), Serving(max_model_len=512), engine_rules("cuda"), DEVICE)


def test_shapes_and_headers_agree_and_nothing_is_noted(tmp_path):
    made = plan(checkpoint(tmp_path, tensors()), tp=2)
    assert not any("shards" in n for n in made.notes)
    assert set(made.weights.stages[0].parts) == {"embedding", "head", "norm", "attention", "mlp"}


def test_a_float32_checkpoint_is_counted_in_the_dtype_it_is_loaded_in(tmp_path):
    held = {name: ("F32", shape) for name, (_, shape) in tensors().items()}
    made = plan(checkpoint(tmp_path, held))
    assert not any("shards" in n for n in made.notes)


def test_headers_that_hold_more_than_the_shapes_win_and_are_said(tmp_path):
    held = {**tensors(), "model.layers.0.mlp.extra_proj.weight": ("BF16", [4096, 256])}
    made = plan(checkpoint(tmp_path, held))
    assert any("the shards hold" in n for n in made.notes)
    assert made.weights.largest().total() >= 4096 * 256 * 2


def test_an_unknown_tower_is_counted_whole_on_every_rank(tmp_path):
    held = {**tensors(), "vision_tower.x.weight": ("BF16", [1000, 100])}
    model = checkpoint(tmp_path, held, architectures=["XForConditionalGeneration"], vision_config={"hidden_size": 8})
    made = plan(model, tp=2)
    parts = made.weights.stages[0].parts
    assert parts["vision"] == 1000 * 100 * 2
    assert parts["mlp"] == 4 * 3 * 512 * 256 * 2 // 2
    assert any("by the tensors' names" in n for n in made.notes)


def test_mtp_layers_are_not_loaded_and_not_counted(tmp_path):
    held = {**tensors(), "mtp.layers.0.mlp.up_proj.weight": ("BF16", [4096, 256])}
    made = plan(checkpoint(tmp_path, held))
    assert not any("shards" in n for n in made.notes)


REPLY = {
    "engine": {"vllm": "0.32.0"},
    "platform": {"device_type": "cpu"},
    "layouts": [
        {
            "parameters": [["a", [2, 3], "bfloat16", 12], ["b", [5], "float32", 20]],
            "placeholders": {"kernel": "none here"},
            "kv": {
                "block_size": 128, "cache_dtype": "auto", "mamba_cache_mode": "none",
                "layers": {
                    "model.layers.0.self_attn.attn": {
                        "kind": "FullAttentionSpec", "block_size": 128, "page_bytes": 4096, "num_kv_heads": 1
                    }
                },
            },
        }
    ],
}  # fmt: skip


def test_the_engines_answer_takes_the_place_of_the_formulas(tmp_path):
    answer = read_answer(REPLY)
    made = make_plan(
        checkpoint(tmp_path, tensors()),
        Layout(),
        Serving(max_model_len=512),
        engine_rules("cuda"),
        DEVICE,
        engine=answer,
    )
    assert made.weights.largest().total() == 32
    assert made.pool.block_bytes == 4096
    assert any("stand-in: kernel" in n for n in made.notes)


def test_an_engine_that_cannot_build_the_model_is_an_error_with_its_words():
    with pytest.raises(EngineError, match="no such kernel"):
        read_answer(
            {**REPLY, "layouts": [{"error": {"stage": "build", "type": "ValueError", "message": "no such kernel"}}]}
        )
    odd = json.loads(json.dumps(REPLY))
    odd["layouts"][0]["kv"]["layers"]["model.layers.0.self_attn.attn"]["kind"] = "NewSpec"
    with pytest.raises(EngineError, match="NewSpec"):
        read_answer(odd)


def test_every_stage_is_asked_for_its_first_rank():
    asked = request("x", Layout(tp=4, pp=2), Serving(max_model_len=512, kv_dtype="fp8"))
    assert [row["rank"] for row in asked["layouts"]] == [0, 4]
    assert asked["engine_args"]["kv_cache_dtype"] == "fp8"


@pytest.mark.engine
def test_the_real_engine_agrees_with_the_formulas_on_a_tiny_checkpoint(tmp_path):
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.targets import load_target

    model = checkpoint(tmp_path, tensors())
    serving = Serving(max_model_len=512)
    with ProbeSession(target_python(load_target("cpu").target), log=tmp_path / "log") as session:
        reply = session.call("kv_spec", request(str(tmp_path), Layout(tp=2), serving), timeout_s=1500)
    assert reply.status == "answered", reply.trouble()
    theirs = read_answer(reply.answer)
    mine = make_plan(model, Layout(tp=2), serving, engine_rules("cpu"), DEVICE)
    assert theirs.weights.largest().total() == mine.weights.largest().total()
    assert [s.page for s in theirs.cache.specs] == [s.page for s in mine.cache.specs]
