"""The gate on the real engine with tiny checkpoints: what must pass passes, what is broken is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, failed
from seatrial.gates import gate, takes_media
from seatrial.gates.agree import PROMPTS, compare, greedy
from seatrial.gates.ladder_run import ladder
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
    assert base.seatrial_cpu_s / base.waited_s < 0.1
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


def test_one_rank_and_two_and_one_prompt_and_eight_agree_up_to_rounding(tiny, engine_python, cpu, tmp_path, alive):
    seen = {}
    for tp, widths in ((2, (1, PROMPTS)), (1, (1,))):
        result = gate(
            tiny("qwen3"),
            cpu,
            python=engine_python,
            stage="real",
            scratch=tmp_path / str(tp),
            tp=tp,
            max_model_len=512,
            visit=lambda client, tp=tp, widths=widths: seen.update(
                {(tp, n): greedy(client, at_once=n) for n in widths}
            ),
        )
        assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
        assert [(q.name, q.status) for q in result.facts.requests] == [("text", 200), ("second", 200)]
        assert result.facts.tp == tp
    for first, second in (((2, 1), (2, PROMPTS)), ((1, 1), (2, 1))):
        found = compare(str(first), str(second), seen[first], seen[second])
        assert found.troubles == ()
        assert found.beyond_rounding() == [], found
        assert found.worst_logprob < 0.5
        # The logits are bfloat16: their step shows in the answers.
        assert 2**-6 <= found.step <= 0.25
    assert alive() == []


@pytest.mark.parametrize(
    ("family", "tp", "names"),
    [
        ("qwen3_vl", 1, ["text", "image", "video", "second"]),
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
        multimodal=bool(takes_media(checkpoint)),
    )
    assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
    assert [(q.name, q.status) for q in result.facts.requests] == [(name, 200) for name in names]
    assert any(package.name == "vllm" for package in result.facts.sources)
    assert alive() == []


def test_experts_in_parallel_are_false_ready_the_matrix_shows_it_and_the_ladder_finds_the_switch(
    tiny, engine_python, cpu, tmp_path, alive
):
    checkpoint = tiny("qwen3_moe")
    words = {"python": engine_python, "stage": "real", "max_model_len": 512}
    shown = matrix(checkpoint, cpu, scratch=tmp_path / "matrix", only=("expert-parallel",), **words)
    assert shown.outcome.verdict is Verdict.PASS, shown.outcome.reason
    assert [q.status for q in shown.facts.starts["base"].requests] == [200, 200]
    [row] = shown.facts.rows
    assert row.status == "unsupported"
    assert row.reason.startswith("false-ready")
    assert "Segfault" in row.reason
    assert any("[EP Rank 0/2]" in proof.says for proof in row.proofs)
    facts = shown.facts.starts["expert-parallel"]
    assert (facts.ending, facts.tp) == ("false-ready", 2)
    assert [m.name for m in facts.milestones if m.name == "model-listed"]
    assert "Segfault" in facts.first_error.text

    log = next(a for a in shown.attachments if a.name == "expert-parallel-server.log")
    failure = StepResult(
        step="real",
        outcome=failed(row.reason),
        summary=row.reason,
        facts=facts,
        attachments=(Attachment(name="server.log", path=log.path),),
    )
    extra = ("--enable-expert-parallel",)
    result = ladder(failure, checkpoint, cpu, scratch=tmp_path / "ladder", tp=2, extra_args=extra, **words)
    assert [(c.rung.name, c.ending) for c in result.facts.climbed] == [
        ("repeat", "false-ready"),
        ("without-enable-expert-parallel", "ready"),
    ]
    assert result.facts.climbed[0].same_signature
    assert result.summary == "it serves with one change: without --enable-expert-parallel"
    # The rung that works is the same model on two ranks.
    assert result.commands[-1].argv[result.commands[-1].argv.index("--tensor-parallel-size") + 1] == "2"
    assert alive() == []
