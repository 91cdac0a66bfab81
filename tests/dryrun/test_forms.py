"""Quantised, expert-parallel, pipelined and header-less checkpoints through the real engine, small and made by code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from headers import QWEN3, qwen3_tensors, without, write_config

from seatrial.core.verdict import Verdict
from seatrial.dryrun import dry, dry_names

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import dry_models as models

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("form", ["fp8", "fp8-tensor", "awq", "gptq", "int8", "int4"])
def test_quantised_forms_pass_and_a_lost_scale_is_named(engine, tmp_path, form):
    folder = write_config(tmp_path / "model", models.quantised_config(form))
    tensors = models.qwen3_dense(form)
    good = dry(folder, tensors, session=engine, tp=2)
    assert good.outcome.verdict is Verdict.PASS, good.outcome.reason
    sums = good.facts.sums
    assert sums.bytes_in == sums.bytes_placed + sums.bytes_dropped
    # GPTQ without act-order has no use for g_idx; the engine's own line says so.
    dropped = {line.kind.rpartition(".")[2] for line in good.facts.tensors if line.state == "dropped"}
    assert dropped == ({"g_idx"} if form == "gptq" else set())
    lost = next(t.name for t in tensors if "layers.1.mlp.down_proj" in t.name and "scale" in t.name)
    bad = dry(folder, without(tensors, lost), session=engine, tp=2)
    assert bad.outcome.verdict is Verdict.FAIL
    assert lost in bad.outcome.reason


@pytest.mark.parametrize("layout", [{"tp": 2, "ep": True}, {"tp": 2, "pp": 2}, {"tp": 4, "ep": True}])
def test_experts_and_layers_spread_over_ranks_are_all_accounted_for(engine, tmp_path, layout):
    config = {**models.SMALL_MOE, "num_hidden_layers": 4}
    folder = write_config(tmp_path / "model", config)
    tensors = models.qwen3_moe(config)
    result = dry(folder, tensors, session=engine, **layout)
    assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
    assert result.facts.sums.bytes_in == result.facts.sums.bytes_placed
    expert = "model.layers.1.mlp.experts.3.up_proj.weight"
    bad = dry(folder, without(tensors, expert), session=engine, **layout)
    assert bad.outcome.verdict is Verdict.FAIL
    assert expert in bad.outcome.reason


def test_alike_ranks_give_the_sums_that_all_ranks_give(engine, tmp_path, monkeypatch):
    folder = write_config(tmp_path / "model", QWEN3)
    every = dry(folder, qwen3_tensors(), session=engine, tp=4).facts
    monkeypatch.setattr("seatrial.dryrun.run.FEW_LOADS", 0)
    two = dry(folder, qwen3_tensors(), session=engine, tp=4).facts
    assert [c.loaded for c in every.rank_classes] == [(0, 1, 2, 3)]
    assert [c.loaded for c in two.rank_classes] == [(0, 3)]
    assert two.sums == every.sums
    assert two.tensors == every.tensors


def test_the_multi_token_prediction_layer_is_dropped_with_the_engines_line(engine, tmp_path):
    folder = write_config(tmp_path / "model", models.SMALL_DEEPSEEK)
    result = dry(folder, models.deepseek_v3(models.SMALL_DEEPSEEK), session=engine, tp=2)
    assert result.outcome.verdict is Verdict.PASS
    dropped = [line for line in result.facts.tensors if line.state == "dropped"]
    assert {line.rule.file for line in dropped} == {"vllm/model_executor/models/deepseek_v2.py"}
    sums = result.facts.sums
    assert sums.bytes_in == sums.bytes_placed + sums.bytes_dropped


def test_an_index_and_a_config_alone_are_inconclusive_at_best(engine, tmp_path):
    folder = write_config(tmp_path / "model", QWEN3)
    names = [t.name for t in qwen3_tensors()]
    result = dry_names(folder, names, session=engine, tp=2)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert result.facts.names_only
    lost = dry_names(folder, names[:-1], session=engine, tp=2)
    assert lost.outcome.verdict is Verdict.FAIL
    assert names[-1] in lost.outcome.reason
    odd = dry_names(folder, [*names, "model.odd.weight"], session=engine)
    assert [f.place for f in odd.findings if f.code == "D019"] == ["model.odd.weight"]
