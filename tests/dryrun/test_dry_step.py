"""The dry step of the main job: through a plugin's stubs where its target has some, in a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from headers import QWEN3, qwen3_tensors, write_config

from seatrial.core.finding import Finding, Severity
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, failed
from seatrial.dryrun import dry
from seatrial.engine.border import ProbeReply
from seatrial.evidence import open_workspace
from seatrial.targets import load_target
from seatrial.workflow import Job, run_job, steps
from shards import write_shard


class Session:
    """Remembers what a probe session is asked for, and answers that the engine's interpreter ended."""

    python = Path("/usr/bin/python3")

    def __init__(self):
        self.asked = []

    def call(self, probe, request, **_):
        self.asked.append(request)
        return ProbeReply(probe=probe, status="crashed", duration_s=0.0, log="dry.log", exit_code=1)

    def rest(self):
        self.asked.append("rest")


class Silent:
    def begun(self, run_id):
        pass

    def step_begun(self, step):
        pass

    def say(self, text):
        pass

    def step_ended(self, step, reused):
        pass


@pytest.fixture
def model(tmp_path):
    folder = write_config(tmp_path / "model", QWEN3)
    write_shard(folder / "model.safetensors", {t.name: (t.dtype, list(t.shape)) for t in qwen3_tensors()})
    return folder


def context(model, target, overrides=None, **words):
    job = Job(checkpoint=str(model), target=target, **words)
    chosen = load_target(target, overrides).target
    return steps.Context(job, chosen, Session(), model, Silent())


def test_the_step_gives_the_plugins_stubs_to_a_process_of_its_own(model, tmp_path):
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    overrides = tmp_path / "seatrial.toml"
    overrides.write_text(f"[targets.ascend-a2.roots]\nplugin = {json.dumps(str(plugin))}\n")
    here = context(model, "ascend-a2", overrides, tp=2)
    result = steps.STEPS["dry"](here)
    before, asked, after = here.session.asked
    assert (before, after) == ("rest", "rest")
    assert asked.stubs.modules["vllm_ascend._build_info"].values == {"__device_type__": "A2"}
    assert asked.plugin_root == str(plugin)
    words = ("--target", "ascend-a2", "--plugin", str(plugin), "--tp", "2", "--dtype", "bfloat16")
    assert result.commands[0].argv[3:] == words


def test_a_target_without_a_plugin_keeps_the_engine_that_is_already_imported(model):
    here = context(model, "cpu")
    steps.STEPS["dry"](here)
    (asked,) = here.session.asked
    assert asked.stubs is None
    assert not list(model.glob("*.gz"))


def test_ranks_that_were_unlike_and_do_not_all_load_leave_the_step_without_an_answer(model, monkeypatch):
    class Builder:
        spread = SimpleNamespace(unlike=(1,))

        def __init__(self, request, raw):
            pass

    class Twice(Session):
        def call(self, probe, request, **_):
            self.asked.append(request)
            if len(self.asked) == 1:
                return SimpleNamespace(status="answered", log="dry.log", decode=lambda kind: None)
            return ProbeReply(probe=probe, status="timed-out", duration_s=600.0, log="dry.log")

    monkeypatch.setattr("seatrial.dryrun.run.AccountBuilder", Builder)
    session = Twice()
    result = dry(model, qwen3_tensors(), session=session, tp=4)
    assert list(session.asked[1].ranks) == [0, 1, 2, 3]
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "not all load: probe 'dry' gave no answer within 600 s" in result.outcome.reason
    assert [a.name for a in result.attachments] == ["dry.log"]


@pytest.mark.parametrize(
    ("target", "stages", "code", "verdict"),
    [
        ("ascend-a2", ("dry",), "E004", Verdict.INCONCLUSIVE),
        ("ascend-a2", ("dry", "dummy"), "E004", Verdict.FAIL),
        ("ascend-a2", ("dry",), "E002", Verdict.FAIL),
        ("cpu", ("dry",), "E004", Verdict.FAIL),
    ],
)
def test_an_absent_device_stops_only_what_needs_it(model, monkeypatch, target, stages, code, verdict):
    finding = Finding(code=code, severity=Severity.ERROR, place="python", message="no device", next_step="")
    found = StepResult(step="engine", outcome=failed("no device"), summary="no device", facts=None, findings=(finding,))
    monkeypatch.setattr(steps, "check_engine", lambda *_, **__: found)
    result = steps.STEPS["engine"](context(model, target, stages=stages))
    assert result.outcome.verdict is verdict
    assert result.findings == (finding,)


@pytest.mark.engine
def test_a_run_without_a_device_builds_the_plugins_own_classes(model, tmp_path):
    """SEATRIAL_ASCEND_ENGINE: a Python whose vLLM is that of the plugin; SEATRIAL_ASCEND_PLUGIN: its sources."""
    python, plugin = (os.environ.get(f"SEATRIAL_ASCEND_{name}", "") for name in ("ENGINE", "PLUGIN"))
    if not python or not plugin:
        pytest.skip("SEATRIAL_ASCEND_ENGINE and SEATRIAL_ASCEND_PLUGIN do not name a vLLM and vllm-ascend's sources")
    overrides = tmp_path / "seatrial.toml"
    overrides.write_text(
        f"[targets.ascend-a2.engine]\ninterpreter = {json.dumps(python)}\n"
        f"[targets.ascend-a2.roots]\nplugin = {json.dumps(plugin)}\n"
    )
    ended = run_job(
        Job(checkpoint=str(model), target="ascend-a2", stages=("dry",)),
        workspace=open_workspace(tmp_path / "place", write=True),
        overrides=overrides,
        observer=Silent(),
    )
    verdicts = {name: step.outcome.verdict for name, step in ended.steps.items()}
    assert verdicts["engine"] is Verdict.INCONCLUSIVE
    assert verdicts["dry"] is Verdict.PASS, ended.steps["dry"].outcome.reason
    facts = json.loads(Path(ended.folder, "artifacts", ended.steps["dry"].facts.file).read_bytes())
    assert facts["platform"]["class"].startswith("vllm_ascend.")
