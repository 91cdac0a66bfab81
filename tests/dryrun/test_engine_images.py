"""Tensors that the engine's loader copies into another order before it cuts them: what it cuts off is seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from headers import changed

from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import dry_models as models

pytestmark = pytest.mark.engine
FEW = {"hidden_size": 128, "ffn_hidden_size": 512, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def falcon(engine):
    """Falcon's loader splits query, key and value of each group, joins them anew and cuts its rank's part."""
    asked = {"architecture": "FalconForCausalLM", "layers": 2, "overrides": FEW}
    made = engine.call("dry_headers", asked, timeout_s=1500)
    assert made.status == "answered", made.trouble()
    tensors = [HeaderTensor(name=n, dtype=d, shape=tuple(s)) for n, d, s in made.answer["tensors"]]
    return made.answer["config"], tensors


@pytest.mark.parametrize("tp", [1, 2])
def test_a_permuted_weight_of_the_right_size_is_read_whole(engine, falcon, tmp_path, tp):
    config, tensors = falcon
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = dry(tmp_path, tensors, session=engine, tp=tp)
    assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
    assert result.facts.sums.bytes_placed == result.facts.sums.bytes_in


def test_a_permuted_weight_twice_too_large_is_named(engine, falcon, tmp_path):
    config, tensors = falcon
    name = next(t.name for t in tensors if t.name.endswith("query_key_value.weight"))
    shape = next(t.shape for t in tensors if t.name == name)
    (tmp_path / "config.json").write_text(json.dumps(config))
    larger = changed(tensors, name, shape=(2 * shape[0], *shape[1:]))
    result = dry(tmp_path, larger, session=engine)
    assert result.outcome.verdict is Verdict.FAIL
    assert any(name in f.message and f.code == "D005" for f in result.findings), result.findings


def test_mxfp4_blocks_that_the_loader_flattens_are_named_when_they_are_transposed(engine, tmp_path):
    """Their number of elements fits, so the engine's own loader takes them as they are."""
    tensors = models.gpt_oss()
    (tmp_path / "config.json").write_text(json.dumps(models.SMALL_GPT_OSS))
    assert dry(tmp_path, tensors, session=engine, tp=2).outcome.verdict is Verdict.PASS
    name = "model.layers.1.mlp.experts.down_proj_blocks"
    shape = next(t.shape for t in tensors if t.name == name)
    result = dry(tmp_path, changed(tensors, name, shape=shape[::-1]), session=engine, tp=2)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert name in result.outcome.reason
