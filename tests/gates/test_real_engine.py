"""The gate on the real engine with tiny checkpoints: what must pass passes, what is broken is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates import gate, takes_images
from seatrial.gates.ladder import climb
from seatrial.gates.matrix import matrix
from seatrial.targets import load_target

pytestmark = pytest.mark.engine


@pytest.fixture
def cpu():
    return load_target("cpu").target


def test_a_tiny_qwen3_serves_and_its_features_have_their_evidence(tiny, engine_python, cpu, tmp_path, alive):
    only = ("logprobs", "lora", "prefix-cache", "streaming", "structured-output")
    result = matrix(
        tiny("qwen3"), cpu, python=engine_python, stage="real", scratch=tmp_path, max_model_len=512, only=only
    )
    assert {row.name: (row.status, row.reason) for row in result.facts.rows} == dict.fromkeys(only, ("supported", ""))
    base = result.facts.starts["base"]
    assert (base.ending, [q.status for q in base.requests]) == ("ready", [200, 200])
    assert base.requests[0].text.strip()
    assert base.resolved.architecture == "Qwen3ForCausalLM"
    assert base.seatrial_cpu_s / base.waited_s < 0.02
    # The worker itself names the sources it runs, and they are those beside the interpreter.
    [seen] = [s for s in base.worker_sources.seen if s.name == "vllm"]
    assert (seen.files >= 24, "Worker" in seen.process) == (True, True)
    assert Path(seen.folder).is_relative_to(engine_python.parent.parent)
    assert alive() == []


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


@pytest.mark.parametrize(
    ("family", "tp", "names"),
    [
        ("qwen3", 2, ["text", "second"]),
        ("qwen3_moe", 1, ["text", "second"]),
        ("llava", 1, ["text", "image", "second"]),
        ("qwen3_next", 1, ["text", "second"]),
        ("deepseek_v3", 1, ["text", "second"]),
    ],
)
def test_every_family_serves_its_real_weights(tiny, engine_python, cpu, tmp_path, family, tp, names, alive):
    checkpoint = tiny(family)
    result = gate(
        checkpoint,
        cpu,
        python=engine_python,
        stage="real",
        scratch=tmp_path,
        tp=tp,
        max_model_len=512,
        multimodal=takes_images(checkpoint),
    )
    assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
    assert [(q.name, q.status) for q in result.facts.requests] == [(name, 200) for name in names]
    assert any(package.name == "vllm" for package in result.facts.sources)
    assert alive() == []


def test_experts_in_parallel_are_false_ready_the_ladder_finds_the_switch_and_the_matrix_shows_it(
    tiny, engine_python, cpu, tmp_path, alive
):
    extra = ("--enable-expert-parallel",)

    def start(name, args, **more):
        more.setdefault("tp", 2)
        return gate(
            tiny("qwen3_moe"),
            cpu,
            python=engine_python,
            stage="real",
            scratch=tmp_path / name,
            max_model_len=512,
            extra_args=args,
            **more,
        )

    first = start("first", extra)
    assert first.facts.ending == "false-ready"
    assert "false-ready" in first.outcome.reason
    assert [m.name for m in first.facts.milestones if m.name == "model-listed"]
    assert "Segfault" in first.facts.first_error.text
    result = climb(first, extra, lambda rung: start(rung.name, () if rung.without else extra))
    assert result.facts.working.name == "without-enable-expert-parallel"
    assert result.summary == "it serves with one change: without --enable-expert-parallel"
    # The rung that works is the same model on two ranks.
    assert result.commands[-1].argv[result.commands[-1].argv.index("--tensor-parallel-size") + 1] == "2"
    shown = matrix(
        tiny("qwen3_moe"),
        cpu,
        python=engine_python,
        stage="real",
        scratch=tmp_path / "matrix",
        max_model_len=512,
        only=("expert-parallel",),
    )
    [row] = shown.facts.rows
    assert (row.status, shown.outcome.verdict) == ("unsupported", Verdict.PASS)
    assert row.reason.startswith("false-ready")
    assert "Segfault" in row.reason
    assert any("[EP Rank 0/2]" in proof.says for proof in row.proofs)
    assert alive() == []
