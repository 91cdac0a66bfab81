"""Real configs against facts written down by hand: from the models' published cards, or read off their config.json.

Parameters are the figures of the cards or of the hub's parameter counts (billions, towers included, MTP left out unless
`mtp` says otherwise). Nothing here was made by running seatrial.
"""

from __future__ import annotations

import shutil

import pytest

from seatrial.checkpoint import read_card
from seatrial.core.finding import Severity

# name: layers, mixers with their counts, heads/kv, head size, experts (number, per token, shared, dense first),
# quantisation, MTP declared, context, modalities
FACTS = {
    "Qwen--Qwen3-0.6B": (28, {"GQA": 28}, (16, 8), 128, None, None, 0, 40960, ()),
    "Qwen--Qwen3-1.7B": (28, {"GQA": 28}, (16, 8), 128, None, None, 0, 40960, ()),
    "Qwen--Qwen3-8B": (36, {"GQA": 36}, (32, 8), 128, None, None, 0, 40960, ()),
    "Qwen--Qwen3-32B": (64, {"GQA": 64}, (64, 8), 128, None, None, 0, 40960, ()),
    "Qwen--Qwen3-32B-FP8": (64, {"GQA": 64}, (64, 8), 128, None, "fp8 128x128", 0, 40960, ()),
    "Qwen--Qwen3-32B-FP8-Static-PerTensor": (64, {"GQA": 64}, (64, 8), 128, None, "fp8 per-tensor", 0, 40960, ()),
    "Qwen--Qwen3-30B-A3B": (48, {"GQA": 48}, (32, 4), 128, (128, 8, None, 0), None, 0, 40960, ()),
    "Qwen--Qwen3-30B-A3B-FP8": (48, {"GQA": 48}, (32, 4), 128, (128, 8, None, 0), "fp8 128x128", 0, 40960, ()),
    "Qwen--Qwen3-235B-A22B": (94, {"GQA": 94}, (64, 4), 128, (128, 8, None, 0), None, 0, 40960, ()),
    "Qwen--Qwen3-Coder-480B-A35B-Instruct": (62, {"GQA": 62}, (96, 8), 128, (160, 8, None, 0), None, 0, 262144, ()),
    "Qwen--Qwen3-VL-2B-Instruct": (28, {"GQA": 28}, (16, 8), 128, None, None, 0, 262144, ("image", "video")),
    "Qwen--Qwen3-VL-4B-Instruct": (36, {"GQA": 36}, (32, 8), 128, None, None, 0, 262144, ("image", "video")),
    "Qwen--Qwen3-VL-8B-Instruct": (36, {"GQA": 36}, (32, 8), 128, None, None, 0, 262144, ("image", "video")),
    "Qwen--Qwen3-VL-32B-Instruct": (64, {"GQA": 64}, (64, 8), 128, None, None, 0, 262144, ("image", "video")),
    "Qwen--Qwen3-VL-30B-A3B-Instruct": (
        48, {"GQA": 48}, (32, 4), 128, (128, 8, None, 0), None, 0, 262144, ("image", "video")),
    "Qwen--Qwen3.5-27B": (
        64, {"gated-deltanet": 48, "GQA": 16}, (24, 4), 256, None, None, 1, 262144, ("image", "video")),
    "Qwen--Qwen3.5-35B-A3B": (
        40, {"gated-deltanet": 30, "GQA": 10}, (16, 2), 256, (256, 8, None, 0), None, 1, 262144, ("image", "video")),
    "Qwen--Qwen3.5-122B-A10B": (
        48, {"gated-deltanet": 36, "GQA": 12}, (32, 2), 256, (256, 8, None, 0), None, 1, 262144, ("image", "video")),
    "meta-llama--Meta-Llama-3.1-8B": (32, {"GQA": 32}, (32, 8), 128, None, None, 0, 131072, ()),
    "meta-llama--Meta-Llama-3.1-70B": (80, {"GQA": 80}, (64, 8), 128, None, None, 0, 131072, ()),
    "meta-llama--Meta-Llama-3.1-405B": (126, {"GQA": 126}, (128, 8), 128, None, None, 0, 131072, ()),
    "meta-llama--Llama-4-Maverick-17B-128E-Instruct": (
        48, {"GQA": 48}, (40, 8), 128, (128, 1, None, 1), None, 0, 1048576, ()),
    "mistralai--Mixtral-8x7B-v0.1": (32, {"GQA": 32}, (32, 8), 128, (8, 2, None, 0), None, 0, 32768, ()),
    "deepseek-ai--DeepSeek-V3": (61, {"MLA": 61}, (128, 128), 192, (256, 8, 1, 3), "fp8 128x128", 1, 163840, ()),
    "deepseek-ai--DeepSeek-V3.2": (61, {"MLA": 61}, (128, 128), 192, (256, 8, 1, 3), "fp8 128x128", 1, 163840, ()),
    "deepseek-ai--DeepSeek-V4-Flash": (43, {"MLA": 43}, (64, 1), 512, (256, 6, 1, 0), "fp8 128x128", 1, 1048576, ()),
    "moonshotai--Kimi-K2-Instruct": (61, {"MLA": 61}, (64, 64), 192, (384, 8, 1, 1), "fp8 128x128", 0, 131072, ()),
    "moonshotai--Kimi-K2.5": (
        61, {"MLA": 61}, (64, 64), 192, (384, 8, 1, 1), "int4 g32", 0, 262144, ("image", "video")),
    "zai-org--GLM-5": (78, {"MLA": 78}, (64, 64), 256, (256, 8, 1, 3), None, 1, 202752, ()),
    "nvidia--GLM-5.1-NVFP4": (78, {"MLA": 78}, (64, 64), 256, (256, 8, 1, 3), "nvfp4 g16", 1, 202752, ()),
    "openai--gpt-oss-20b": (24, {"GQA": 24}, (64, 8), 64, (32, 4, None, 0), "mxfp4", 0, 131072, ()),
    "google--gemma-4-26B-A4B": (30, {"GQA": 30}, (16, 8), 256, (128, 8, None, 0), None, 0, 262144, ("image", "video")),
    "MiniMaxAI--MiniMax-M2.5": (62, {"GQA": 62}, (48, 8), 128, (256, 8, None, 0), "fp8 128x128", 3, 196608, ()),
    "XiaomiMiMo--MiMo-7B-Base": (36, {"GQA": 36}, (32, 8), 128, None, None, 1, 32768, ()),
    "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": (
        52, {"mamba2": 23, "GQA": 6, "none": 23}, (32, 2), 128, (128, 6, 1, 1), None, 0, 262144, ()),
    "nvidia--NVIDIA-Nemotron-3-Super-120B-A12B-FP8": (
        88, {"mamba2": 40, "GQA": 8, "none": 40}, (32, 2), 128, (512, 22, 1, 1), "fp8 per-tensor", 1, 262144, ()),
    "nvidia--Llama-3_3-Nemotron-Super-49B-v1": (80, {"GQA": 49, "none": 31}, (64, 8), 128, None, None, 0, 131072, ()),
    "nvidia--Qwen3.6-35B-A3B-NVFP4": (
        40, {"gated-deltanet": 30, "GQA": 10}, (16, 2), 256, (256, 8, None, 0), "mixed", 1, 262144,
        ("image", "video")),
}  # fmt: skip

# Billions: total as published, active as published where the card says so (None: it does not, or counts otherwise).
PUBLISHED = {
    "Qwen--Qwen3-0.6B": (0.596, None),
    "Qwen--Qwen3-1.7B": (1.72, None),
    "Qwen--Qwen3-8B": (8.2, None),
    "Qwen--Qwen3-32B": (32.8, None),
    "Qwen--Qwen3-30B-A3B": (30.5, 3.3),
    "Qwen--Qwen3-235B-A22B": (235, 22),
    "Qwen--Qwen3-Coder-480B-A35B-Instruct": (480, 35),
    "Qwen--Qwen3-VL-2B-Instruct": (2.13, None),
    "Qwen--Qwen3-VL-4B-Instruct": (4.44, None),
    "Qwen--Qwen3-VL-8B-Instruct": (8.77, None),
    "Qwen--Qwen3-VL-32B-Instruct": (33.4, None),
    "Qwen--Qwen3-VL-30B-A3B-Instruct": (31.1, None),
    "Qwen--Qwen3.5-27B": (27, None),
    "Qwen--Qwen3.5-35B-A3B": (35, None),
    "Qwen--Qwen3.5-122B-A10B": (122, None),
    "meta-llama--Meta-Llama-3.1-8B": (8.03, None),
    "meta-llama--Meta-Llama-3.1-70B": (70.6, None),
    "meta-llama--Meta-Llama-3.1-405B": (406, None),
    "meta-llama--Llama-4-Maverick-17B-128E-Instruct": (400, 17),
    "mistralai--Mixtral-8x7B-v0.1": (46.7, 12.9),
    "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": (31.6, 3.6),
    "nvidia--NVIDIA-Nemotron-3-Super-120B-A12B-FP8": (120.6, None),
    "nvidia--Llama-3_3-Nemotron-Super-49B-v1": (49.9, None),
    "google--gemma-4-26B-A4B": (25.8, 3.8),
    "deepseek-ai--DeepSeek-V3": (671, 37),
    "deepseek-ai--DeepSeek-V4-Flash": (284, None),
    "zai-org--GLM-5": (744, None),
    "moonshotai--Kimi-K2-Instruct": (1026, 32),
    "openai--gpt-oss-20b": (20.9, None),
    "MiniMaxAI--MiniMax-M2.5": (229, None),
}


@pytest.fixture
def card_of(shared_data, tmp_path):
    def build(name):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "hf_quant_config.json"):
            source = shared_data / "configs" / f"{name}_{file}"
            if source.is_file():
                shutil.copy(source, folder / file)
        return read_card(folder)

    return build


def names(shared_data):
    return sorted(
        f.name.removesuffix("_config.json")
        for f in (shared_data / "configs").glob("*_config.json")
        if not f.name.endswith("_hf_quant_config.json")
    )


@pytest.mark.parametrize("name", FACTS)
def test_a_real_config_says_what_its_card_says(name, card_of):
    layers, kinds, heads, head_dim, experts, scheme, mtp, context, modalities = FACTS[name]
    card = card_of(name)
    attention = card.attention
    assert card.architecture.layers == layers == len(attention.pattern)
    counted = {}
    for i, mixer in enumerate(attention.mixers):
        counted[mixer.kind] = counted.get(mixer.kind, 0) + attention.count(i)
    assert counted == kinds
    assert (attention.heads, attention.kv_heads) == heads
    assert attention.head_dim == head_dim
    moe = card.feed_forward.moe
    found = moe and (moe.experts, moe.experts_per_token, moe.shared_experts, card.feed_forward.dense_first())
    assert found == experts
    assert (card.quantization.scheme if card.quantization else None) == scheme
    assert card.mtp.declared == mtp
    assert card.mtp.status == ("inconclusive" if mtp else "not-applicable")
    assert card.context.value == context
    assert (card.multimodal.modalities if card.multimodal else ()) == modalities


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_estimate_is_within_two_percent_of_the_published_figure(name, card_of):
    total, active = PUBLISHED[name]
    parameters = card_of(name).parameters
    assert parameters.formula
    assert parameters.total.value / 1e9 == pytest.approx(total, rel=0.02)
    if active is not None:
        # Cards round the active figure to a whole or half billion, and some leave the embedding out.
        assert parameters.active.value / 1e9 == pytest.approx(active, rel=0.04)


def test_mimo_counts_its_mtp_layer_in_its_published_size(card_of):
    parameters = card_of("XiaomiMiMo--MiMo-7B-Base").parameters
    assert (parameters.total.value + parameters.mtp.value) / 1e9 == pytest.approx(7.83, rel=0.02)


def test_the_lines_of_the_formula_add_up_to_the_total(card_of):
    parameters = card_of("deepseek-ai--DeepSeek-V3").parameters
    assert sum(int(line.rsplit("= ", 1)[1].replace(",", "")) for line in parameters.formula) == parameters.total.value


def test_every_config_gives_a_complete_record_without_an_unexplained_field(shared_data, card_of):
    for name in names(shared_data):
        card = card_of(name)
        assert not card.unexplained, (name, card.unexplained)
        assert not [f for f in card.findings if f.severity is Severity.ERROR], name
        assert len(card.attention.pattern) == len(card.feed_forward.pattern) == card.architecture.layers, name
        assert all(m.kind != "unknown" for m in card.attention.mixers), name
        assert card.parameters.total.value is not None, name
        assert card.context.value, name
        assert any(check.fits for check in card.tensor_parallel), name
        assert all(check.fits != bool(check.problems) for check in card.tensor_parallel), name


def test_layers_of_a_kind_stand_where_the_pattern_puts_them(card_of):
    def full(name):
        attention = card_of(name).attention
        return [i for i, m in enumerate(attention.pattern) if attention.mixers[m].window is None
                and attention.mixers[m].chunk is None and attention.mixers[m].kind in ("GQA", "MHA")]  # fmt: skip

    assert full("Qwen--Qwen3.5-35B-A3B") == list(range(3, 40, 4))
    assert full("meta-llama--Llama-4-Maverick-17B-128E-Instruct") == list(range(3, 48, 4))
    assert full("openai--gpt-oss-20b") == list(range(1, 24, 2))
    assert full("google--gemma-4-26B-A4B") == list(range(5, 30, 6))


def test_state_shapes_of_linear_layers_are_those_of_the_engine(card_of):
    states = {m.kind: m.state for m in card_of("Qwen--Qwen3.5-35B-A3B").attention.mixers}
    # 16 key heads and 32 value heads of 128, convolution over 4 steps
    assert states["gated-deltanet"].conv == (3, 2 * 16 * 128 + 32 * 128)
    assert states["gated-deltanet"].recurrent == (32, 128, 128)
    nemotron = {m.kind: m.state for m in card_of("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16").attention.mixers}
    assert nemotron["mamba2"].conv == (3, 64 * 64 + 2 * 8 * 128)
    assert nemotron["mamba2"].recurrent == (64, 64, 128)


@pytest.mark.parametrize(
    ("name", "good", "bad", "why"),
    [
        ("Qwen--Qwen3-30B-A3B-FP8", {1, 2}, 4, "768/4 = 192 is no multiple of 128"),
        ("Qwen--Qwen3-32B", {1, 2, 4, 8, 16, 32, 64}, 3, "64 is not divisible by 3"),
        ("MiniMaxAI--MiniMax-M2.5", {1, 2, 4}, 8, "1536/8 = 192 is no multiple of 128"),
        ("meta-llama--Llama-4-Maverick-17B-128E-Instruct", {1, 2, 4, 8}, 16, "40 is not divisible by 16"),
    ],
)
def test_tensor_parallel_sizes_fit_or_say_with_numbers_why_not(card_of, name, good, bad, why):
    checks = {c.size: c for c in card_of(name).tensor_parallel}
    assert set(checks) == set(range(1, 65))
    assert {s for s in (1, 2, 4, 8, 16, 32, 64) if checks[s].fits} == good
    assert any(why in problem for problem in checks[bad].problems)


def test_kv_heads_are_replicated_where_there_are_more_ranks(card_of):
    checks = {c.size: c for c in card_of("Qwen--Qwen3-32B").tensor_parallel}
    assert (checks[8].kv, checks[16].kv) == ("split", "replicated")


@pytest.mark.parametrize(
    ("name", "total", "mtp"),
    [("Devstral-Small-2507", 23_572_403_200, 0), ("WizardLM-2-8x22B", 140_620_634_112, 0)],
)
def test_the_estimate_equals_the_total_of_a_real_index(shared_data, name, total, mtp):
    card = read_card(shared_data / "checkpoints" / name)
    assert card.weights.known == "names"
    # bf16: the index's total_size is two bytes a parameter
    assert card.parameters.total.value == total == card.weights.index_total_size // 2
    assert card.mtp.status == "not-applicable"


def test_an_index_alone_shows_towers_and_layers(shared_data):
    card = read_card(shared_data / "checkpoints" / "DeepSeek-OCR2")
    counts = {share.component: share.tensors for share in card.weights.components}
    assert counts["vision"] > 300
    assert counts["projector"] == 2
    # 11 layers with experts: 64 experts of three projections each
    assert counts["experts"] == 11 * 64 * 3
    assert card.parameters.total.value is None
    assert "vision tower" in card.parameters.total.note
    assert card.unexplained == ()
