"""The join with the planner: measured beside the bound, never better than the best there can be by mistake."""

from __future__ import annotations

import json

import pytest

from seatrial.estimate import Layout, Serving, engine_rules, read_model
from seatrial.estimate.compute import lay_out
from seatrial.measure.profile.roofline import join
from seatrial.targets.hardware import load_hardware

T0 = 5_000_000_000
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return lay_out(read_model(folder), Layout(), Serving(), engine_rules("cuda"))


@pytest.fixture
def hardware():
    return load_hardware("nvidia-h100-sxm")


def test_measured_time_stands_beside_the_bound_of_the_same_batch(write, answer, work, hardware):
    events = []
    for i in range(10):
        at = T0 + i * 10_000_000
        events.append(("execute_context_0(0)_generation_8(8)", "user_annotation", 1, 1, at, 9_000_000))
        events.append(("MatMulV3", "kernel", 0, 7, at, 4_000_000))
        events.append(("IncreFlashAttention", "kernel", 0, 7, at + 5_000_000, 1_000_000))
    found = join(answer(write(events)), work, hardware, 1000)
    rows = {r.component: r for r in found.rows}
    gemm = rows["gemm"]
    assert gemm.measured_s == pytest.approx(0.004)
    # 4 layers of 15.7 M weights in qkv, o, gate, up and down, and a head of 155.6 M, two bytes each, read once a step.
    weights = 2 * (4 * (1024 * (2048 + 2048) + 2048 * 1024 + 3 * 1024 * 3072) + 1024 * 151936)
    assert gemm.mbu == pytest.approx(weights / 0.004 / hardware.memory_bandwidth.value, rel=0.02)
    assert gemm.bound_s == pytest.approx(weights / hardware.memory_bandwidth.value, rel=0.02)
    assert 0 < gemm.of_bound < 1
    assert rows["attention"].measured_s == pytest.approx(0.001)
    assert found.profiler_attached


def test_a_component_without_a_kernel_says_so(write, answer, work, hardware):
    events = []
    for i in range(3):
        at = T0 + i * 10_000
        events.append(("execute_context_0(0)_generation_8(8)", "user_annotation", 1, 1, at, 9000))
        events.append(("MatMulV3", "kernel", 0, 7, at, 4000))
    rows = {r.component: r for r in join(answer(write(events)), work, hardware, 1000).rows}
    assert rows["attention"].measured_s is None
    assert "no kernel" in rows["attention"].why


def test_steps_that_say_nothing_are_unknown_not_zero(write, answer, work, hardware):
    events = [("MatMulV3", "kernel", 0, 7, T0 + i * 1000, 500) for i in range(5)]
    found = join(answer(write(events)), work, hardware, 1000)
    assert found.rows == ()
    assert found.unknown
