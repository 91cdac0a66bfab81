"""What a loop's ledger takes as evidence of a change, and what a bench's records keep of secrets."""

from __future__ import annotations

import pytest
from tests.measure.made import workload
from tests.measure.test_loop import BASELINE, EVIDENCE, GOAL, faster, patch

from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.record import from_plain, replace, to_json, to_plain
from seatrial.core.secrets import REDACTED
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, passed
from seatrial.evidence import Run, open_workspace
from seatrial.measure.accuracy.level import level_step
from seatrial.measure.accuracy.records import DatasetConfig, Prediction, RequestConfig
from seatrial.measure.accuracy.run import RunWriter, tally
from seatrial.measure.load.facts import launch_facts
from seatrial.measure.load.service import Smoke
from seatrial.measure.loop.events import Accuracy, Stop
from seatrial.targets import load_target
from seatrial.workflow.begin import manifest_for
from seatrial.workflow.bench import BenchJob, Side
from seatrial.workflow.loop import accuracy_from, add_event, loop_state, start_loop
from seatrial.workflow.replay import replay

SMOKE = Smoke(passed=True, reason="", texts=("yes",), findings=())


def kept(workspace, name, looked_at, sides=("a", "b"), bad=(), at=None, **job):
    made = BenchJob(kind="bench", sides=tuple(Side(label=s, **job) for s in sides), checkpoint="x", workload=workload())
    manifest = manifest_for(
        name,
        arguments=to_plain(made),
        checkpoint="x",
        located=load_target("cpu", None),
        python="",
        versions={},
        inputs={},
        argv=(),
    )
    manifest = replace(manifest, created_at=at) if at else manifest
    run = Run.create(workspace.runs_folder / name, manifest)
    for label in looked_at:
        outcome = failed("nonsense") if label in bad else passed()
        step = StepResult(step=f"accuracy-{label}", outcome=outcome, summary="", facts=SMOKE)
        run.store(step, inputs="", started_at="2026-01-01T00:00:00Z", duration_s=0.0)
    run.close()
    return name


def test_the_level_of_an_accuracy_check_is_that_of_its_record(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    found = accuracy_from(workspace, kept(workspace, "whole", "ab"), "")
    assert (found.passed, found.level) == (True, "L1")


def test_a_run_that_ended_before_it_looked_at_the_change_is_no_accuracy_check(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    with pytest.raises(UsageError, match="looked at no answer of b"):
        accuracy_from(workspace, kept(workspace, "half", "a"), "")
    assert accuracy_from(workspace, kept(workspace, "bad", "a", bad="a"), "").passed is False


def rung(workspace, name, level="L3", right=40, total=40, lost=0, model="m", at=None):
    """A kept run of `seatrial accuracy run`, as `workflow.accuracy` stores one: the first `right` answers are right."""
    folder = workspace.scratch(name)
    rows = [
        Prediction(
            id=str(n),
            prompt=f"q{n}",
            expected="1",
            text="" if n < lost else "1",
            extracted=None if n < lost else "1",
            status="no-answer" if n < lost else "correct" if n < right else "wrong",
        )
        for n in range(total)
    ]
    request = RequestConfig(api_url="http://127.0.0.1:1", model="m")
    with RunWriter(
        folder / "files", request, DatasetConfig(name="d", source="d.jsonl", questions_sha256="x")
    ) as writer:
        for row in rows:
            writer.add(row)
        writer.finish(tally(name, level, rows, partial="no answer" if lost else ""))
    step = level_step(folder / "files", server="http://127.0.0.1:1", version="0.32.0")
    manifest = manifest_for(
        name,
        arguments={"kind": "accuracy", "what": "level", "checkpoint": "x", "target": "", "options": {"level": level}},
        checkpoint="x",
        located=load_target("cpu", None),
        python="",
        versions={},
        inputs={"model": model},
        argv=(),
    )
    run = Run.create(workspace.runs_folder / name, replace(manifest, created_at=at) if at else manifest)
    run.store(step, inputs="x", started_at="2026-01-01T00:00:00Z", duration_s=0.0)
    run.close()
    return name


def test_a_rung_of_the_accuracy_command_is_evidence_with_its_own_level(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    found = accuracy_from(workspace, rung(workspace, "whole", level="L2", right=5, total=5), "d")
    assert (found.passed, found.level, found.against) == (True, "L2", "")
    found = accuracy_from(workspace, rung(workspace, "wrong", level="L2", right=4, total=5), "d")
    assert (found.passed, found.level) == (False, "L2")
    with pytest.raises(UsageError, match="no answer was judged"):
        accuracy_from(workspace, rung(workspace, "up", level="L0", right=1, total=1), "d")
    with pytest.raises(UsageError, match="inconclusive"):
        accuracy_from(workspace, rung(workspace, "cut", lost=3), "d")


def test_a_score_is_held_against_the_run_from_before_the_change(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    before, same = rung(workspace, "before", right=36), rung(workspace, "same", right=36)
    worse, little = rung(workspace, "worse", right=4), rung(workspace, "little", right=34)
    with pytest.raises(UsageError, match="36 of 40 right: worse than before"):
        accuracy_from(workspace, same, "d")
    found = accuracy_from(workspace, same, "d", before)
    assert (found.passed, found.level, found.against) == (True, "L3", before)
    found = accuracy_from(workspace, worse, "d", before)
    assert not found.passed
    assert "32 lost" in found.reason
    with pytest.raises(UsageError, match="too few changed answers"):
        accuracy_from(workspace, little, "d", before)
    with pytest.raises(UsageError, match="against itself"):
        accuracy_from(workspace, same, "d", same)
    with pytest.raises(UsageError, match="there is no run"):
        accuracy_from(workspace, same, "d", "nowhere")
    with pytest.raises(UsageError, match="no run of `seatrial accuracy run`"):
        accuracy_from(workspace, kept(workspace, "bench", "ab"), "d", before)


def test_a_loop_takes_accuracy_of_its_own_checkpoint_at_the_level_it_asks_for(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    base = rung(workspace, "base", at="2026-01-01T00:00:00.000Z")
    loop = start_loop(workspace, replace(GOAL, least_accuracy="L3"), "cpu", None, ())
    add_event(workspace, loop, replace(BASELINE, evidence=base))
    add_event(workspace, loop, replace(EVIDENCE, evidence=(base,)))
    add_event(workspace, loop, patch())
    low = accuracy_from(workspace, rung(workspace, "low", level="L2", right=5, total=5), "")
    with pytest.raises(UsageError, match="of level L2, this loop asks for L3"):
        add_event(workspace, loop, low)
    other = accuracy_from(workspace, rung(workspace, "other", model="another"), "")
    with pytest.raises(UsageError, match="another checkpoint"):
        add_event(workspace, loop, other)
    good = accuracy_from(workspace, rung(workspace, "good"), "")
    assert add_event(workspace, loop, good).phase == "performance"
    # What was refused is not in the ledger.
    assert len(loop_state(workspace, loop).events) == 5


def test_a_change_of_code_is_not_proven_by_a_run_from_before_it(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    old = kept(workspace, "old", "ab", at="2026-01-01T00:00:00.000Z")
    loop = start_loop(workspace, GOAL, "cpu", None, ())
    add_event(workspace, loop, replace(BASELINE, evidence=old))
    add_event(workspace, loop, replace(EVIDENCE, evidence=(old,)))
    add_event(workspace, loop, replace(patch(), commit="c0ffee"))
    right = Accuracy(evidence=old, passed=True, level="L1", diff="hash-1")
    with pytest.raises(UsageError, match="began before the change"):
        add_event(workspace, loop, right)
    new = kept(workspace, "new", "ab")
    with pytest.raises(UsageError, match="is it still there"):
        add_event(workspace, loop, replace(right, evidence=new, diff=""))
    state = add_event(workspace, loop, replace(right, evidence=new))
    assert state.phase == "performance"
    with pytest.raises(UsageError, match="began before the change"):
        add_event(workspace, loop, replace(faster(), evidence=old, diff="hash-1"))


def test_no_writer_stops_a_loop_by_a_rule_that_does_not_hold(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    loop = start_loop(workspace, GOAL, "cpu", None, ())
    with pytest.raises(UsageError, match="does not hold"):
        add_event(workspace, loop, Stop(rule="win", reason="it feels faster"))
    with pytest.raises(UsageError, match="unknown stop rule"):
        add_event(workspace, loop, Stop(rule="victory", reason="x"))


def test_a_bench_keeps_no_secret_and_is_not_done_again_with_a_placeholder(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    secrets = {"args": ("--api-key", "sk-very-secret", "--api-key=sk-very-secret"), "env": {"HF_TOKEN": "hf_secret"}}
    name = kept(workspace, "bench-1", "a", sides=("a",), **secrets)
    told = b"".join(f.read_bytes() for f in workspace.run_folder(name).rglob("*") if f.is_file())
    assert b"very-secret" not in told
    assert b"hf_secret" not in told
    # What is kept is still a job.
    job = from_plain(BenchJob, Run.read(workspace.run_folder(name)).manifest.arguments, where="x")
    assert job.sides[0].args == ("--api-key", REDACTED, f"--api-key={REDACTED}")
    assert job.workload == workload()
    with pytest.raises(UsageError, match="given a secret"):
        replay(workspace, name, None)


def test_the_facts_of_a_launch_hold_no_secret():
    target = load_target("cpu", None).target
    argv = ("vllm", "serve", "m", "--api-key", "sk-very-secret", "--max-num-seqs", "4")
    facts = launch_facts(Command(purpose="x", argv=argv, env={"HF_TOKEN": "hf-secret", "A": "b"}), target, "1", None)
    assert "secret" not in to_json(facts).decode()
    assert facts["flag.max-num-seqs"] == "4"
    assert facts["env.A"] == "b"
