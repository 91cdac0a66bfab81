"""The gate on the real engine with tiny checkpoints: what must pass passes, what is broken is named."""

from __future__ import annotations

import shutil

import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.targets import load_target

pytestmark = pytest.mark.engine


@pytest.fixture
def cpu():
    return load_target("cpu").target


@pytest.mark.parametrize("stage", ["dummy", "real"])
def test_a_tiny_qwen3_serves(tiny, engine_python, cpu, tmp_path, stage, alive):
    result = gate(tiny("qwen3"), cpu, python=engine_python, stage=stage, scratch=tmp_path, max_model_len=512)
    facts = result.facts
    assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
    assert facts.resolved.architecture == "Qwen3ForCausalLM"
    assert [q.status for q in facts.requests] == [200, 200]
    assert facts.seatrial_cpu_s / facts.waited_s < 0.02
    assert alive() == []
    if stage == "real":
        assert facts.requests[0].text.strip()
        assert result.findings == ()


def test_a_damaged_checkpoint_dies_with_its_own_error_first(tiny, engine_python, cpu, tmp_path, alive):
    broken = tmp_path / "broken"
    shutil.copytree(tiny("qwen3"), broken)
    shard = broken / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    result = gate(broken, cpu, python=engine_python, stage="real", scratch=tmp_path / "s", max_model_len=512)
    assert result.facts.ending == "died"
    assert "SafetensorError" in result.facts.first_error.text
    assert "SafetensorError" in result.outcome.reason
    assert alive() == []
