"""`seatrial profile read --explains RUN`: the answer kept beside the bench run, as evidence that a loop can cite."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tests.measure.made import bench_run
from tests.measure.test_loop import BASELINE, EVIDENCE, GOAL
from tests.measure.test_loop_evidence import kept

from seatrial.cli.profile import command
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, passed
from seatrial.evidence import Run, open_workspace
from seatrial.evidence.verify import verify_run
from seatrial.report.write import write_report
from seatrial.workflow.loop import add_event, start_loop

EVENTS = [
    ("execute_context_0(0)_generation_1(1)", "user_annotation", 1, 1, 1000, 900),
    ("MatMulV3", "kernel", 0, 7, 1000, 500),
]


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "w", write=True)


@pytest.fixture
def measured(workspace):
    """A run with one measured side."""
    name = kept(workspace, "20260101-000000-bench-x-aaaa", "a", sides=("a",))
    run = Run.resume(workspace.runs_folder / name)
    step = StepResult(step="bench-a-1", outcome=passed(), summary="", facts=bench_run(10.0, "a"))
    run.store(step, inputs="", started_at="2026-01-01T00:00:00Z", duration_s=0.0)
    run.close()
    return name


def read(*arguments):
    return CliRunner().invoke(command, ["read", *map(str, arguments), "--no-cache"], catch_exceptions=False)


def test_the_kept_answer_names_its_bench_and_its_files_and_verifies(workspace, measured, write):
    path = write(EVENTS)
    assert read(path, "--explains", measured, "--workspace", workspace.root.parent).exit_code == 0
    run = Run.read(workspace.run_folder("last"))
    assert run.manifest.arguments == {"kind": "profile", "explains": measured}
    stored = run.steps()["profile"]
    facts = json.loads(run.artifact(stored.facts).read_bytes())
    assert facts["explains"] == measured
    assert facts["profiler_attached"] is True
    assert facts["files"][0]["bytes"] == path.stat().st_size
    assert facts["report"]["ranks"][0]["devices"][0]["times"]["busy_ns"] == 500
    assert verify_run(run.folder).verdict is Verdict.PASS


def test_the_report_of_a_kept_answer_shows_its_tables_and_what_it_explains(workspace, measured, write):
    read(write(EVENTS), "--explains", measured, "--workspace", workspace.root.parent)
    text = write_report(Run.read(workspace.run_folder("last"))).read_text()
    for word in (measured, "MatMulV3", "gemm", "bottleneck", "they are no performance figures", "steps by"):
        assert word in text


def test_a_loop_takes_it_as_what_explains_the_gap(workspace, measured, write):
    read(write(EVENTS), "--explains", measured, "--workspace", workspace.root.parent)
    name = Run.read(workspace.run_folder("last")).run_id
    loop = start_loop(workspace, GOAL, "cpu", None, ())
    add_event(workspace, loop, replace(BASELINE, evidence=measured))
    assert add_event(workspace, loop, replace(EVIDENCE, evidence=(f"{name}/profile",))).phase == "patch"


def test_what_measured_nothing_cannot_be_explained(workspace, write):
    empty = kept(workspace, "20260101-000000-bench-x-bbbb", "a", sides=("a",))
    with pytest.raises(UsageError, match="no run of `seatrial bench`"):
        read(write(EVENTS), "--explains", empty, "--workspace", workspace.root.parent)
    with pytest.raises(UsageError, match="no run"):
        read(write(EVENTS), "--explains", "nothing", "--workspace", workspace.root.parent)
    assert len(workspace.run_folders()) == 1
