"""Tensors that the engine's loader copies into another order before it cuts them: what it cuts off is seen."""

from __future__ import annotations

import json

import pytest
from headers import changed

from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry

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
