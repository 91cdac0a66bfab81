"""Gates, ladder, features, agreement, soak and capacity as steps of the main job, with the stand-in as the server."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from seatrial.core.errors import Stopped
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, passed
from seatrial.evidence import ADVICE, Run, open_workspace, verify_run
from seatrial.gates import capacity as capacity_module
from seatrial.workflow import Job, run_job
from seatrial.workflow.steps import STEPS


class Silent:
    """Watches a run without a word; `stop_at` stops it when a text is said, as a signal would."""

    def __init__(self, stop_at: str = "") -> None:
        self.stop_at = stop_at
        self.begun_steps: list[str] = []

    def begun(self, run_id):
        self.run_id = run_id

    def step_begun(self, step):
        self.begun_steps.append(step)

    def say(self, text):
        if self.stop_at and self.stop_at in text:
            raise Stopped(15)

    def step_ended(self, step, reused):
        pass


@pytest.fixture
def do(stand_in_target, checkpoint, tmp_path, monkeypatch, alive):
    """Runs or resumes the main job on the stand-in; what needs a real engine passes unseen."""
    for name in ("inspect", "engine", "support", "dry"):
        seen = StepResult(step=name, outcome=passed(), summary="seen elsewhere", facts={})
        monkeypatch.setitem(STEPS, name, lambda context, seen=seen: seen)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    workspace = open_workspace(tmp_path / "place", write=True)

    def go(fault="", observer=None, resume=None, serve="", **words):
        stand_in_target(fault)
        with (tmp_path / "seatrial.toml").open("a") as stream:
            stream.write(serve)
        job = None if resume else Job(checkpoint=str(checkpoint), target="stand-in", max_model_len=512, **words)
        ended = run_job(
            job,
            workspace=workspace,
            overrides=tmp_path / "seatrial.toml",
            observer=observer or Silent(),
            resume=resume,
        )
        assert alive() == []
        return ended

    go.workspace = workspace
    return go


def facts_of(ended, step):
    stored = ended.steps[step]
    return json.loads(Path(ended.folder, "artifacts", stored.facts.file).read_bytes())


def test_what_is_asked_for_runs_after_the_gates_and_is_kept(do):
    ended = do(stages=("dummy", "real"), features=True, agree=True, soak=60, capacity=True, context=512, sequences=2)
    names = ["inspect", "plan", "engine", "support", "dummy", "real", "plan-check", "features", "agreement", "soak",
             "capacity"]  # fmt: skip
    assert list(ended.steps) == names
    assert ended.finished.verdict is Verdict.PASS, ended.finished.reason
    assert facts_of(ended, "soak")["answered"] == 60
    assert facts_of(ended, "features")["stage"] == "real"
    assert facts_of(ended, "capacity")["most_sequences"] == 64
    assert [t["sequences"] for t in facts_of(ended, "capacity")["trials"]] == [2, 32, 64]
    run = Run.read(do.workspace.run_folder("last"))
    assert sum(entry.kind == "trial" for entry in run.log.entries) == 3
    assert verify_run(run.folder).verdict is Verdict.PASS


def test_a_failed_gate_is_followed_by_the_ladder_and_nothing_else(do):
    ended = do("crash-on-request", stages=("dummy", "real"), soak=10)
    steps = ["inspect", "plan", "engine", "support", "dummy", "dummy-ladder", "real", "plan-check", "soak"]
    assert list(ended.steps) == steps
    assert ended.finished.reason.startswith("dummy: false-ready")
    assert facts_of(ended, "dummy-ladder")["climbed"][0]["rung"]["name"] == "repeat"
    assert ended.steps["real"].summary.startswith("not run, because dummy failed")
    assert any(a.name == "repeat-server.log" for a in ended.steps["dummy-ladder"].artifacts)


def test_without_the_ladder_a_failed_gate_is_left_alone(do):
    assert "dummy-ladder" not in do("crash-on-request", stages=("dummy",), ladder=False).steps


def test_a_ladder_does_not_outlive_the_failure_it_explained(do):
    do("crash-on-request", stages=("dummy",))
    ended = do("", resume="last")
    assert ended.finished.verdict is Verdict.PASS
    kept = Run.read(do.workspace.run_folder("last")).steps()
    assert kept["dummy-ladder"].outcome.verdict is Verdict.NOT_APPLICABLE


def test_the_ladder_drops_a_switch_of_the_target(do):
    fault = "crash-with=--enable-expert-parallel"
    ended = do(fault, stages=("real",), serve="args.enable-expert-parallel = true\n")
    assert facts_of(ended, "real-ladder")["working"]["drop"] == ["enable-expert-parallel"]
    assert (
        ended.steps["real-ladder"].summary == "it serves with one change: without the target's enable-expert-parallel"
    )


def test_a_sweep_that_was_stopped_goes_on_with_the_trial_it_was_in(do, monkeypatch):
    words = {"stages": ("real",), "capacity": True, "context": 512, "sequences": 2}
    with pytest.raises(Stopped):
        do(observer=Silent("trying a context of 512 tokens, 64"), **words)
    watcher = Silent()
    ended = do(observer=watcher, resume="last")
    assert [s for s in watcher.begun_steps if s not in ADVICE] == ["capacity"]
    assert len(facts_of(ended, "capacity")["trials"]) == 3
    run = Run.read(do.workspace.run_folder("last"))
    assert [e.body["body"]["sequences"] for e in run.log.entries if e.kind == "trial"] == [2, 32, 64]
    logs = {a.name for a in ended.steps["capacity"].artifacts}
    assert {"512x2-server.log", "512x32-server.log", "512x64-server.log"} <= logs
    assert verify_run(run.folder).verdict is Verdict.PASS


def test_a_trial_whose_log_is_gone_is_made_again(do):
    words = {"stages": ("real",), "capacity": True, "context": 512, "sequences": 2}
    with pytest.raises(Stopped):
        do(observer=Silent("trying a context of 512 tokens, 64"), **words)
    run = Run.read(do.workspace.run_folder("last"))
    first = next(e for e in run.log.entries if e.kind == "trial")
    (run.artifacts_folder / first.body["artifact"]["file"]).unlink()
    shutil.rmtree(do.workspace.root / "scratch")
    do(resume="last")
    made = [e.body["body"]["sequences"] for e in Run.read(run.folder).log.entries if e.kind == "trial"]
    assert made == [2, 32, 2, 64]


def test_what_a_stopped_attempt_left_is_kept_when_the_run_goes_on(do):
    with pytest.raises(Stopped):
        do(stages=("dummy",), observer=Silent("asking: second"))
    scratch = do.workspace.root / "scratch" / do.workspace.run_folder("last").name
    left = (scratch / "dummy" / "server.log").read_bytes()
    ended = do(resume="last")
    run = Run.read(do.workspace.run_folder("last"))
    [record] = [e for e in run.log.entries if e.kind == "left-behind"]
    [log] = [a for a in record.body["artifacts"] if a["name"] == "interrupted/dummy/server.log"]
    assert (run.artifacts_folder / log["file"]).read_bytes() == left
    assert ended.finished.verdict is Verdict.PASS
    assert not scratch.exists()
    assert verify_run(run.folder).verdict is Verdict.PASS


def test_the_default_baseline_is_the_checklists():
    assert (capacity_module.BASELINE_CONTEXT, capacity_module.BASELINE_SEQUENCES) == (131072, 16)
