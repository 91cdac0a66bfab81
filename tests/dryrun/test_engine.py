"""The dry run through the real engine, on header-only checkpoints made by code."""

from __future__ import annotations

import pytest
from headers import QWEN3, changed, qwen3_tensors, without, write_config

from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry

pytestmark = pytest.mark.engine
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def folder(tmp_path):
    return write_config(tmp_path / "model", QWEN3)


@pytest.mark.parametrize("tp", [1, 2])
def test_a_good_checkpoint_passes_and_all_bytes_are_placed(engine, folder, tp):
    result = dry(folder, qwen3_tensors(), session=engine, tp=tp)
    assert result.outcome.verdict is Verdict.PASS
    assert result.summary == f"25 tensors → 19 parameters: all accounted for (TP {tp}, rank shapes 1)"
    sums = result.facts.sums
    assert sums.bytes_in == sums.bytes_placed == sum(2 * _count(t) for t in qwen3_tensors())
    assert sorted(p.name for p in folder.iterdir()) == ["config.json"]


def _count(tensor):
    total = 1
    for size in tensor.shape:
        total *= size
    return total


def test_kv_heads_fewer_than_ranks_are_replicated_and_counted_once(engine, folder):
    result = dry(folder, qwen3_tensors(), session=engine, tp=4)
    assert result.outcome.verdict is Verdict.PASS
    assert result.facts.sums.bytes_placed == sum(2 * _count(t) for t in qwen3_tensors())


def test_a_removed_weight_is_named(engine, folder):
    result = dry(folder, without(qwen3_tensors(), DOWN), session=engine, tp=2)
    assert result.outcome.verdict is Verdict.FAIL
    (finding,) = result.findings
    assert (finding.code, finding.place) == ("D001", DOWN)
    assert f"expected in the checkpoint: {DOWN}" in finding.message


def test_a_renamed_weight_shows_both_names(engine, folder):
    given = changed(qwen3_tensors(), DOWN, name=DOWN.replace("down_proj", "down_prj"))
    result = dry(folder, given, session=engine)
    assert result.outcome.verdict is Verdict.FAIL
    assert {(f.code, f.place) for f in result.findings} >= {
        ("D001", DOWN),
        ("D004", DOWN.replace("down_proj", "down_prj")),
    }


def test_a_transposed_weight_is_named_and_the_rest_still_loads(engine, folder):
    up = "model.layers.0.mlp.up_proj.weight"
    result = dry(folder, changed(qwen3_tensors(), up, shape=(64, 128)), session=engine, tp=2)
    assert result.outcome.verdict is Verdict.FAIL
    assert {t.name for t in result.facts.tensor_troubles} == {up}
    failed = [f for f in result.findings if f.code == "D004"]
    assert {f.place for f in failed} == {up}
    assert "vllm/model_executor/parameter.py:" in failed[0].message


def test_a_weight_twice_as_large_is_named(engine, folder):
    up = "model.layers.0.mlp.up_proj.weight"
    result = dry(folder, changed(qwen3_tensors(), up, shape=(256, 64)), session=engine)
    assert [(f.code, f.place) for f in result.findings] == [("D005", up)]


def test_a_lost_shard_of_a_fused_weight_is_named(engine, folder):
    key = "model.layers.1.self_attn.k_proj.weight"
    result = dry(folder, without(qwen3_tensors(), key), session=engine, tp=2)
    (finding,) = result.findings
    assert (finding.code, finding.place) == ("D002", "model.layers.1.self_attn.qkv_proj.weight")
    assert f"missing in the checkpoint: {key}" in finding.message


def test_what_the_engine_drops_is_dropped_with_its_own_line(engine, folder):
    extra = HeaderTensor(name="model.layers.0.self_attn.rotary_emb.inv_freq", dtype="F32", shape=(8,))
    result = dry(folder, [*qwen3_tensors(), extra], session=engine)
    assert result.outcome.verdict is Verdict.PASS
    (line,) = [line for line in result.facts.tensors if line.state == "dropped"]
    assert line.rule is not None
    assert line.rule.file.startswith("vllm/")
    assert "rotary_emb.inv_freq" in line.reason
    assert result.facts.sums.bytes_dropped == 32


def test_the_engines_own_kv_cache_spec_is_in_the_account(engine, folder):
    one, two = (dry(folder, qwen3_tensors(), session=engine, tp=tp).facts for tp in (1, 2))
    (line,) = one.cache
    assert (line.count, line.spec, line.error) == (2, "FullAttentionSpec", "")
    # Keys and values, 2 KV heads of 16, two bytes each, for every token of a block.
    assert line.page_bytes == 2 * 2 * 16 * 2 * line.block_size
    assert two.cache[0].page_bytes * 2 == line.page_bytes
    assert any(name.endswith(".RMSNorm") for name in one.ops)
    # Read from the source of what was built, each with its line, and there: a good model has no missing operator.
    norm = one.calls["_C::rms_norm"]
    assert (norm.state, norm.certain) == ("present", True)
    assert "rms_norm" in norm.at.source
    assert one.calls["vllm::unified_attention_with_output"].certain
    assert [name for name, call in one.calls.items() if call.state == "missing"] == []


def test_tied_embeddings_are_tied(engine, tmp_path):
    folder = write_config(tmp_path / "tied", {**QWEN3, "tie_word_embeddings": True})
    result = dry(folder, qwen3_tensors(tied=True), session=engine)
    assert result.outcome.verdict is Verdict.PASS
    assert ("lm_head.weight", "tied") in {(p.kind, p.state) for p in result.facts.parameters}


def test_a_layout_the_engine_refuses_fails_with_its_own_words(engine, folder):
    result = dry(folder, qwen3_tensors(), session=engine, tp=3)
    assert result.outcome.verdict is Verdict.FAIL
    assert "must be divisible by tensor parallel size" in result.outcome.reason


def test_an_unknown_architecture_is_refused_in_one_line(engine, tmp_path):
    folder = write_config(tmp_path / "odd", {**QWEN3, "architectures": ["NoSuchForCausalLM"]})
    result = dry(folder, qwen3_tensors(), session=engine)
    assert result.outcome.verdict is Verdict.FAIL
    assert "NoSuchForCausalLM" in result.outcome.reason
    assert "\n" not in result.outcome.reason


def test_a_prefix_that_drifted_is_found_tried_and_printed_as_code(engine, folder):
    given = [
        HeaderTensor(name=t.name.replace("model.layers.", "model.decoder.layers."), dtype=t.dtype, shape=t.shape)
        for t in qwen3_tensors()
    ]
    result = dry(folder, given, session=engine)
    assert result.outcome.verdict is Verdict.FAIL
    (mend,) = result.facts.mends
    assert (mend.old, mend.new, mend.tensors) == ("model.decoder.", "model.", 22)
    assert mend.tried == "tried on rank 0: all in order"
    assert "'model.decoder.': 'model.'" in mend.code


def test_a_mistyped_name_is_matched_to_the_nearest_missing_parameter(engine, folder):
    result = dry(folder, changed(qwen3_tensors(), "model.norm.weight", name="model.nrom.weight"), session=engine)
    assert [(m.kind, m.old, m.new) for m in result.facts.mends] == [("name", "model.nrom.weight", "model.norm.weight")]
