"""A loop adds up only what belongs together: comparisons with what stands, on one question, each used once."""

from __future__ import annotations

import pytest
from tests.measure.made import bench_run, side, workload
from tests.measure.test_loop import BASELINE, EVIDENCE, GOAL, patch

from seatrial.core.errors import UsageError
from seatrial.core.record import replace, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import passed
from seatrial.evidence import Run, open_workspace
from seatrial.measure.compare import judge
from seatrial.measure.loop.events import Lesson
from seatrial.targets import load_target
from seatrial.workflow.begin import manifest_for
from seatrial.workflow.bench import BenchJob, Side
from seatrial.workflow.loop import accuracy_from, add_event, baseline_from, performance_from, start_loop

SEQS = "flag__max-num-seqs"


def kept(workspace, name, a, b=()):
    """A kept bench of side A's runs, and with B's a comparison; looked at before it was measured."""
    labels = tuple(dict.fromkeys(r.setup.label for r in (*a, *b)))
    job = BenchJob(kind="bench", sides=tuple(Side(label=x) for x in labels), checkpoint="x", workload=workload())
    manifest = manifest_for(
        name,
        arguments=to_plain(job),
        checkpoint="x",
        located=load_target("cpu", None),
        python="",
        versions={},
        inputs={"model": "weights-1"},
        argv=(),
    )
    run = Run.create(workspace.runs_folder / name, manifest)
    steps = [(f"accuracy-{x}", {"passed": True, "level": "L1"}) for x in labels]
    steps += [(f"bench-{r.setup.label}-{n}", r) for n, r in enumerate((*a, *b), 1)]
    if b:
        steps.append(("verdict", judge(a, b, under_test=("flag.*",))))
    for step, facts in steps:
        made = StepResult(step=step, outcome=passed(), summary="", facts=facts)
        run.store(made, inputs="", started_at="2026-01-01T00:00:00Z", duration_s=0.0)
    run.close()
    return name


def ab(workspace, name, a=None, b=None, **both):
    """One that is better beyond the noise: four sequences instead of one, or whatever is asked."""
    a, b = {SEQS: "1", **both, **(a or {})}, {SEQS: "4", **both, **(b or {})}
    return kept(workspace, name, side([100, 101, 102, 103], "one", **a), side([130, 131, 132, 133], "four", **b))


@pytest.fixture
def loop(tmp_path):
    """A workspace and a loop with a baseline of one sequence, and a change that waits for its figures."""
    workspace = open_workspace(tmp_path, write=True)
    base = kept(workspace, "base", [bench_run(100.0, "base", **{SEQS: "1"})])
    name = start_loop(workspace, GOAL, "cpu", None, ())
    add_event(workspace, name, replace(baseline_from(workspace, base, "request_throughput"), sla=BASELINE.sla))
    add_event(workspace, name, replace(EVIDENCE, evidence=(base,)))
    add_event(workspace, name, patch())
    return workspace, name


def take(loop, run):
    workspace, name = loop
    add_event(workspace, name, accuracy_from(workspace, run, ""))
    return add_event(workspace, name, performance_from(workspace, run, "request_throughput", ""))


def test_a_comparison_with_the_baseline_is_taken(loop):
    assert take(loop, ab(loop[0], "good")).rounds[0].performance.answer == "pass"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"workload__concurrency": 1}, "workload.concurrency"),
        ({"workload__order": "other"}, "workload.order"),
        ({"devices": "8 x 910C"}, "devices"),
        ({"tokenizer": "other"}, "tokenizer"),
        ({"env__HCCL_OP_EXPANSION_MODE": "HOST"}, "env.HCCL_OP_EXPANSION_MODE"),
        ({"flag__enforce-eager": "true"}, "flag.enforce-eager"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_fair_comparison_of_something_else_is_not_one_of_this_loop(loop, changes, field):
    with pytest.raises(UsageError, match=f"another configuration than what stands, base: {field}"):
        take(loop, ab(loop[0], "other", **changes))


def test_a_change_is_not_held_against_a_side_that_was_made_worse(loop):
    with pytest.raises(UsageError, match=r"flag.max-num-seqs \(1 there, 2 here\)"):
        take(loop, ab(loop[0], "worse", a={SEQS: "2"}))


def test_after_a_kept_change_the_next_is_held_against_it(loop):
    workspace, name = loop
    first = ab(workspace, "first")
    take(loop, first)
    add_event(workspace, name, Lesson(text="four is better", kept=True))
    add_event(workspace, name, replace(EVIDENCE, evidence=(first,)))
    add_event(workspace, name, replace(patch(), diff="hash-2"))
    with pytest.raises(UsageError, match="first spoke for the change of round 1"):
        take(loop, first)
    with pytest.raises(UsageError, match=r"what stands, first: flag.max-num-seqs \(4 there, 1 here\)"):
        take(loop, ab(workspace, "again"))
    second = kept(
        workspace,
        "second",
        side([130, 131, 132, 133], "four", **{SEQS: "4"}),
        side([150, 151, 152, 153], "eight", **{SEQS: "8"}),
    )
    # The accuracy of `again` was taken before its figures were refused.
    state = add_event(workspace, name, performance_from(workspace, second, "request_throughput", ""))
    assert state.rounds[1].performance.answer == "pass"


def test_after_a_change_that_was_rolled_back_the_baseline_stands(loop):
    workspace, name = loop
    take(loop, ab(workspace, "first"))
    add_event(workspace, name, Lesson(text="too much memory", kept=False))
    add_event(workspace, name, replace(EVIDENCE, evidence=("base",)))
    add_event(workspace, name, replace(patch(), diff="hash-2"))
    assert take(loop, ab(workspace, "second", b={SEQS: "8"})).rounds[1].performance.answer == "pass"
