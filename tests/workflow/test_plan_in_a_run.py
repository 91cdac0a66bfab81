"""The plan as a step of the main job: advice that is kept, checked against the engine, and never in the way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.cost import million_turns
from tests.shards import write_shard
from tests.workflow.test_bad_input import CONFIG, TENSORS

from seatrial.core.record import replace
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, failed, passed
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.rederive import rederive
from seatrial.evidence import Run, open_workspace
from seatrial.report import write_report
from seatrial.report.ci import annotations_of, junit_of
from seatrial.report.gather import gather
from seatrial.workflow import Job, run_job
from seatrial.workflow.steps import STEPS

LINES = (
    "INFO Explicitly set (0.01/64.0) GiB for KV cache on node 0.\n"
    "INFO CPU KV cache size: {tokens:,} tokens, Maximum concurrency for 64 tokens per request: 1.00x\n"
)
SPACE = 10 << 20


class Silent:
    def begun(self, run_id): ...
    def step_begun(self, step): ...
    def say(self, text): ...
    def step_ended(self, step, reused): ...


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_shard(folder / "model.safetensors", TENSORS)
    return folder


@pytest.fixture
def go(tmp_path, checkpoint, monkeypatch):
    """Runs the main job; every other step is a stand-in, the dummy gate's log says `tokens`."""
    seen = StepResult(step="", outcome=passed(), summary="seen", facts={})
    for name in ("inspect", "engine", "support", "dry", "real"):
        monkeypatch.setitem(STEPS, name, lambda context, name=name: replace(seen, step=name))
    (tmp_path / "seatrial.toml").write_text(
        '[targets.here]\nextends = "cpu"\n[targets.here.engine]\nkind = "interpreter"\n'
        f'interpreter = "{sys.executable}"\n'
        f"[targets.here.serve.args]\nkv-cache-memory-bytes = {SPACE}\n"
    )
    workspace = open_workspace(tmp_path / "place", write=True)

    def run(tokens: int | None = None, outcome=None, resume=None, **words):
        def gate(context):
            log = context.scratch / "server.log"
            log.write_text(LINES.format(tokens=tokens) if tokens is not None else "nothing\n")
            return StepResult(
                step="dummy", outcome=outcome or passed(), summary="seen", facts={},
                attachments=(Attachment(name="server.log", path=str(log)),),
            )  # fmt: skip

        monkeypatch.setitem(STEPS, "dummy", gate)
        job = Job(checkpoint=str(checkpoint), target="here", stages=("dummy",), ladder=False, **words)
        return run_job(
            None if resume else job, workspace=workspace, overrides=tmp_path / "seatrial.toml", observer=Silent(),
            resume=resume,
        )  # fmt: skip

    return run


def facts_of(ended, step):
    return json.loads(Path(ended.folder, "artifacts", ended.steps[step].facts.file).read_bytes())


def right_tokens(ended) -> int:
    return facts_of(ended, "plan")["plan"]["capacity"]["tokens"]


def test_the_plan_is_recorded_before_the_engine_and_checked_after_the_gates(go):
    ended = go(tokens=1)
    assert list(ended.steps) == ["inspect", "plan", "engine", "support", "dummy", "plan-check"]
    assert ended.steps["plan"].outcome.verdict is Verdict.PASS
    assert ended.steps["plan-check"].outcome.verdict is Verdict.FAIL
    assert ended.finished.verdict is Verdict.PASS, "advice decides nothing"
    good = go(tokens=right_tokens(ended))
    assert good.steps["plan-check"].outcome.verdict is Verdict.PASS
    assert "KV tokens" in good.steps["plan-check"].summary


def test_the_plan_costs_no_more_than_a_third_of_a_second_of_todays_processor(go):
    from seatrial.targets import load_target
    from seatrial.workflow.plan import plan_step

    ended = go(tokens=1)
    folder = Path(json.loads((Path(ended.folder) / "manifest.json").read_bytes())["checkpoint"])
    words = (folder, load_target("cpu").target, Job(checkpoint=str(folder)), Path("/usr/bin/python3"))
    assert million_turns(lambda: plan_step(*words)) < 12


def test_a_plan_that_cannot_be_made_names_the_field_and_the_run_goes_on(go, checkpoint):
    config = {k: v for k, v in CONFIG.items() if k != "num_attention_heads"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    ended = go(tokens=1)
    assert ended.steps["plan"].outcome.verdict is Verdict.INCONCLUSIVE
    assert "num_attention_heads" in ended.steps["plan"].outcome.reason
    assert "num_attention_heads" in ended.steps["plan-check"].outcome.reason
    assert ended.finished.verdict is Verdict.PASS


def test_a_size_that_does_not_divide_is_inconclusive_with_the_numbers(go):
    ended = go(tokens=1, tp=3)
    assert ended.steps["plan"].outcome.verdict is Verdict.INCONCLUSIVE
    assert "3" in ended.steps["plan"].outcome.reason
    assert list(ended.steps)[-1] == "plan-check"


def test_a_gate_that_failed_is_compared_all_the_same(go):
    tokens = right_tokens(go(tokens=1))
    ended = go(tokens=tokens, outcome=failed("no answer"))
    assert ended.finished.reason.startswith("dummy: ")
    assert ended.steps["plan-check"].outcome.verdict is Verdict.PASS


def test_a_resumed_run_checks_again_only_what_was_done_again(go):
    tokens = right_tokens(go(tokens=1))
    go(tokens=tokens)
    kept = go(tokens=tokens, resume="last")
    assert "plan-check" in kept.finished.reused
    go(tokens=tokens, outcome=failed("no answer"))
    again = go(tokens=1, resume="last")
    assert "plan" in again.finished.reused
    assert again.steps["plan-check"].outcome.verdict is Verdict.FAIL


def test_the_report_shows_the_charts_from_the_records_alone_and_needs_no_plan(go, checkpoint):
    ended = go(tokens=1)
    (checkpoint / "config.json").unlink()
    run = Run.read(Path(ended.folder))
    html = write_report(run).read_text()
    plan = html[html.index('id="step-plan"') : html.index('id="step-engine"')]
    assert "Memory of one device" in plan
    assert "Capacity of one replica" in plan
    assert "seatrial hardware measure" in plan
    check = html[html.index('id="step-plan-check"') :]
    assert "differs" in check[: check.index("</section>")]
    assert 'class="piece' in plan
    markdown = Path(ended.report).with_suffix(".md").read_text()
    assert "Memory of one device" in markdown
    assert html.index('id="step-inspect"') < html.index('id="step-plan"') < html.index('id="step-support"')


def test_a_failing_check_turns_no_job_red(go):
    found = gather(Run.read(Path(go(tokens=1).folder)))
    assert "<failure" not in junit_of(found)
    assert not any(line.startswith("::error") for line in annotations_of(found))


def test_verify_derives_plan_and_check_again_and_sees_a_forged_one(go):
    ended = go(tokens=1)
    run = Run.resume(Path(ended.folder))

    def faults():
        return [f.code for f in rederive(EvidenceView(run)).findings if f.code in ("Y212", "Y224")]

    try:
        assert faults() == []
        forged = StepResult(
            step="plan-check", outcome=passed("all equal"), summary="all equal", facts=facts_of(ended, "plan-check")
        )
        run.store(forged, inputs="x", started_at="t", duration_s=0.0)
        assert faults() == ["Y224"]
        facts = facts_of(ended, "plan-check")
        facts["rows"][0]["reported"]["low"] = 0.0
        told = StepResult(step="plan-check", outcome=ended.steps["plan-check"].outcome, summary="", facts=facts)
        run.store(told, inputs="x", started_at="t", duration_s=0.0)
        assert "Y224" in faults()
    finally:
        run.close()
