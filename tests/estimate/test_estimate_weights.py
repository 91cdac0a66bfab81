"""Weight bytes per rank: by hand for a small model, and against what the real engine built (kept figures)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatrial.estimate import Layout, read_model
from seatrial.estimate.model import Lacking, NotModelled, Uneven
from seatrial.estimate.weights import weight_bytes

DATA = Path(__file__).parent / "data"
ENGINE = json.loads((DATA / "engine_weights.json").read_text())
LAYOUTS = json.loads((DATA / "engine_layouts.json").read_text())


def total(model, **layout):
    return weight_bytes(model, Layout(**layout)).stages[0].total()


def test_a_dense_model_adds_up_by_hand(make):
    h, i, v, kv, q = 256, 512, 1000, 64, 256
    layer = (q + 2 * kv) * h + h * q + 3 * i * h + 2 * h
    assert total(make()) == 2 * (2 * 1024 * h + h + 4 * layer)  # the vocabulary is padded to 64
    assert v < 1024


def test_copied_kv_heads_and_norms_do_not_shrink_with_more_ranks(make):
    model = make()
    h, i = 256, 512
    layer = (256 // 8 + 2 * 32) * h + h * 256 // 8 + 3 * i * h // 8 + 2 * h
    assert total(model, tp=8) == 2 * (2 * 1024 * h // 8 + h + 4 * layer)


def test_a_tied_head_is_counted_once_and_copied_to_the_last_stage(make):
    model = make(tie_word_embeddings=True)
    assert "head" not in weight_bytes(model, Layout()).stages[0].parts
    stages = weight_bytes(model, Layout(pp=2)).stages
    assert stages[1].parts["head"] == stages[0].parts["embedding"]


def test_stages_share_the_layers_and_the_remainder_goes_before_the_last():
    assert [len(r) for r in Layout(pp=4).stage_layers(61)] == [15, 15, 16, 15]
    assert [len(r) for r in Layout(pp=2).stage_layers(61)] == [31, 30]


def test_sizes_that_do_not_divide_are_refused_with_the_numbers(make):
    with pytest.raises(Uneven, match="8 attention heads do not divide by tensor-parallel size 3"):
        total(make(), tp=3)
    with pytest.raises(Uneven, match="1024 padded rows do not divide by tensor-parallel size 6"):
        total(make(num_attention_heads=48, num_key_value_heads=48), tp=6)


def test_expert_parallelism_keeps_whole_experts(make):
    moe = {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    model = make(**moe)
    experts = 4 * 8 * 3 * 64 * 256 * 2
    assert weight_bytes(model, Layout()).stages[0].parts["experts"] == experts
    assert weight_bytes(model, Layout(tp=4)).stages[0].parts["experts"] == experts // 4
    assert weight_bytes(model, Layout(tp=4, ep=True)).stages[0].parts["experts"] == experts // 4
    assert weight_bytes(model, Layout(tp=1, dp=3, ep=True)).stages[0].parts["experts"] == experts * 3 // 8


def test_a_quantisation_section_without_a_method_is_ignored_and_said(make):
    plain = total(make())
    model = make(quantization_config={"quant_algo": "FP8", "producer": {"name": "modelopt"}})
    found = weight_bytes(model, Layout())
    assert found.stages[0].total() == plain
    assert any("quant_method" in n for n in found.notes)


def test_an_image_tower_that_is_not_described_is_a_lacking_field(make):
    with pytest.raises(Lacking, match="vision_config"):
        total(make(architectures=["Llama4ForConditionalGeneration"]))


def test_an_unknown_tower_has_no_formula(make):
    with pytest.raises(NotModelled, match="image tower"):
        total(make(architectures=["XForConditionalGeneration"], vision_config={"hidden_size": 8}))


def test_a_foreign_pattern_that_is_not_harmless_is_named_not_run(make):
    q = {"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["re:(a+)+$"]}
    found = weight_bytes(make(quantization_config=q), Layout())
    assert any("(a+)+" in n for n in found.notes)


@pytest.mark.parametrize("name", sorted(ENGINE))
def test_real_configs_give_the_bytes_the_engine_built(name, shared_data, tmp_path):
    source = Path(shared_data) / "configs"
    (tmp_path / "config.json").write_bytes((source / f"{name}_config.json").read_bytes())
    beside = source / f"{name}_hf_quant_config.json"
    if beside.is_file():
        (tmp_path / "hf_quant_config.json").write_bytes(beside.read_bytes())
    model = read_model(tmp_path)
    mine = {tp: total(model, tp=int(tp)) for tp in ENGINE[name]["weights"]}
    assert mine == ENGINE[name]["weights"]


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_expert_parallel_ranks_and_pipeline_stages_give_the_bytes_the_engine_built(name, shared_data, tmp_path):
    source = Path(shared_data) / "configs"
    (tmp_path / "config.json").write_bytes((source / f"{name}_config.json").read_bytes())
    beside = source / f"{name}_hf_quant_config.json"
    if beside.is_file():
        (tmp_path / "hf_quant_config.json").write_bytes(beside.read_bytes())
    model = read_model(tmp_path)
    for asked, theirs in LAYOUTS[name]:
        layout = Layout(tp=asked["tp"], pp=asked.get("pp", 1), ep=asked.get("ep", False))
        stage = weight_bytes(model, layout).stages[asked.get("rank", 0) // layout.tp]
        assert stage.total() == theirs, asked


def test_a_classifier_has_a_row_for_each_label_in_float32_and_another_head_is_named(make):
    bert = {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "type_vocab_size": 2}
    two = weight_bytes(make(**bert), Layout(tp=2)).stages[0].total()
    five = weight_bytes(make(**bert, id2label={str(i): "x" for i in range(5)}), Layout(tp=2)).stages[0].total()
    # Three rows more, each of the hidden size and one bias.
    assert five - two == 3 * (256 + 1) * 4
    assert weight_bytes(make(**bert, num_labels=5), Layout(tp=2)).stages[0].total() == five
    with pytest.raises(NotModelled, match="the head of LlamaForSequenceClassification"):
        weight_bytes(make(architectures=["LlamaForSequenceClassification"]), Layout())
