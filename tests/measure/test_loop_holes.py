"""What a loop must not let through: figures of another baseline, a service level not held, results asked for again."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tests.measure.made import side
from tests.measure.test_loop import (
    ACCURATE,
    BASELINE,
    EVIDENCE,
    GOAL,
    KEPT,
    LOST,
    faster,
    patch,
    rules,
    turn,
)
from tests.measure.test_loop_evidence import kept as looked_at
from tests.measure.test_loop_evidence import rung
from tests.measure.test_loop_fair import SEQS, ab, kept, loop, take

from seatrial.cli.loop import command
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import inconclusive
from seatrial.evidence import Run, open_workspace
from seatrial.measure.loop import state_of
from seatrial.measure.loop.change import setting_hash
from seatrial.measure.loop.events import Accuracy, Blocked, Bottleneck, Lesson, Limit, Setting, Stop
from seatrial.workflow.loop import accuracy_from, add_event, start_loop

__all__ = ["loop"]  # the fixture
FAILED = Accuracy(evidence="run-a", passed=False, level="L4")


def test_after_a_new_baseline_the_figures_of_the_old_one_do_not_count():
    # The first was measured under another load: its 150 is no figure beside the second's 30.
    state = state_of([GOAL, BASELINE, *turn(1, faster(150.0)), replace(BASELINE, value=30.0)])
    assert state.best == 30.0
    assert state.gap == pytest.approx(90 / 120)
    assert not rules(BASELINE, *turn(1, faster(150.0)), replace(BASELINE, value=30.0))["win"].holds
    again = (replace(BASELINE, value=30.0), *turn(2, faster(125.0)))
    assert rules(BASELINE, *turn(1, faster(150.0)), *again)["win"].why.startswith("better than the reference by 4.2%")


def test_a_figure_that_breaks_the_service_level_is_not_the_best_under_it():
    assert state_of([GOAL, replace(BASELINE, value=130.0, sla_holds=False)]).best is None
    broken = replace(BASELINE, value=130.0, sla_holds=False)
    assert not rules(broken, *turn(1, faster(110.0)))["win"].holds
    # A round that holds it does not lend its level to an earlier one that was not shown to.
    assert not rules(BASELINE, *turn(1, faster(130.0, holds=None)), *turn(2, faster(115.0)))["win"].holds


@pytest.mark.parametrize("level", [{"holds": None}, {"holds": False}, {"sla": "another"}])
def test_a_tie_needs_the_service_level_too(level):
    close = (119.5, 120.5, 120.0)
    assert rules(BASELINE, *turn(1, faster(120.0, values=close)))["tie"].holds
    assert not rules(BASELINE, *turn(1, faster(120.0, values=close, **level)))["tie"].holds


@pytest.mark.parametrize("answer", ["pass", "fail"])
def test_a_comparison_that_has_answered_is_not_made_again_until_it_pleases(answer):
    events = [GOAL, BASELINE, EVIDENCE, patch(), ACCURATE, faster(answer=answer)]
    with pytest.raises(UsageError, match=f"comparison of round 1 has answered: {answer}"):
        state_of([*events, faster(140.0)])
    # Nor by a new accuracy check in between.
    with pytest.raises(UsageError, match="has answered"):
        state_of([*events, ACCURATE, faster(140.0)])
    assert state_of([*events, ACCURATE]).phase == "record"


@pytest.mark.parametrize("answer", ["inconclusive", "smoke-only"])
def test_a_comparison_that_could_not_tell_may_be_made_again(answer):
    state = state_of([GOAL, BASELINE, EVIDENCE, patch(), ACCURATE, faster(answer=answer), faster()])
    assert state.rounds[0].performance.answer == "pass"


def test_a_failed_accuracy_check_is_not_answered_by_one_that_asks_less():
    events = [GOAL, BASELINE, EVIDENCE, patch(), FAILED]
    with pytest.raises(UsageError, match="failed its accuracy check of level L4"):
        state_of([*events, replace(ACCURATE, evidence="run-c")])
    assert state_of([*events, replace(ACCURATE, evidence="run-c", level="L5")]).phase == "performance"


def test_a_change_that_fails_after_it_was_measured_is_not_kept():
    with pytest.raises(UsageError, match="is not kept"):
        state_of([GOAL, BASELINE, EVIDENCE, patch(), ACCURATE, faster(), FAILED, KEPT])
    assert not state_of([GOAL, BASELINE, EVIDENCE, patch(), ACCURATE, faster(), FAILED, LOST]).rounds[0].improved


def test_a_change_that_was_kept_without_a_gain_is_what_stands(loop):
    workspace, name = loop
    flat = kept(
        workspace,
        "flat",
        side([100, 101, 102, 103], "one", **{SEQS: "1"}),
        side([101, 100, 103, 102], "four", **{SEQS: "4"}),
    )
    assert take(loop, flat).rounds[0].performance.answer == "inconclusive"
    add_event(workspace, name, Lesson(text="no faster, but it is needed for the next", kept=True))
    add_event(workspace, name, replace(EVIDENCE, evidence=(flat,)))
    add_event(workspace, name, replace(patch(), diff="hash-2"))
    with pytest.raises(UsageError, match=r"what stands, flat: flag.max-num-seqs \(4 there, 1 here\)"):
        take(loop, ab(workspace, "again"))


def test_evidence_from_before_a_kept_change_explains_nothing_of_what_stands_now(loop):
    workspace, name = loop
    first = ab(workspace, "first")
    take(loop, first)
    add_event(workspace, name, Lesson(text="four is better", kept=True))
    with pytest.raises(UsageError, match="base began before the change that was kept was measured"):
        add_event(workspace, name, replace(EVIDENCE, evidence=("base",)))
    assert add_event(workspace, name, replace(EVIDENCE, evidence=("base", first))).phase == "patch"


def test_a_ledger_is_no_evidence(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    name = start_loop(workspace, GOAL, "cpu", None, ())
    for event in (replace(EVIDENCE, evidence=(name,)), Limit(name="UB size", evidence=(name,))):
        with pytest.raises(UsageError, match="is a loop's ledger, which measures nothing"):
            add_event(workspace, name, event)


def test_a_run_to_hold_a_smoke_against_is_not_left_out_in_silence(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    before, smoke = rung(workspace, "before"), rung(workspace, "smoke", level="L2", right=5, total=5)
    with pytest.raises(UsageError, match="level L2 has no score to hold against"):
        accuracy_from(workspace, smoke, "d", before)


def test_smokes_that_could_not_tell_are_no_failed_check(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    name = looked_at(workspace, "gone", "b")
    run = Run.resume(workspace.runs_folder / name)
    made = StepResult(step="accuracy-a", outcome=inconclusive("the server died"), summary="", facts={"level": "L1"})
    run.store(made, inputs="", started_at="2026-01-01T00:00:00Z", duration_s=0.0)
    run.close()
    with pytest.raises(UsageError, match="accuracy-a: the server died"):
        accuracy_from(workspace, name, "")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Blocked(needs=" "), "what is missing"),
        (Limit(name="", evidence=("r",)), "limit needs its name"),
        (Bottleneck(name=" ", current=1, theoretical=2, unit="s", evidence=("r",)), "bottleneck needs its name"),
        (Stop(rule="", reason=" "), "a stop needs its reason"),
    ],
)
def test_a_rule_is_not_opened_by_no_words(event, words):
    with pytest.raises(UsageError, match=words):
        state_of([GOAL, BASELINE, event])


def test_a_loop_begins_with_a_goal_in_words(tmp_path):
    with pytest.raises(UsageError, match="a loop needs its goal"):
        start(tmp_path, "--goal", " ")


@pytest.mark.parametrize(
    ("given", "kept_as"),
    [
        ("ttft p99<=500ms", "ttft p99 <= 500 ms"),
        ("tpot p50 <= 50.0 ms ; ttft p99 <= 0.5 s", "tpot p50 <= 50 ms; ttft p99 <= 500 ms"),
        ("", ""),
    ],
)
def test_the_service_level_is_kept_as_a_workload_writes_it(tmp_path, given, kept_as):
    found = start(tmp_path, "--goal", "faster", "--sla", given)
    assert json.loads(found.stdout)["state"]["goal"]["sla"] == kept_as


@pytest.mark.parametrize(
    "given",
    ["fast", "ttft p99 < 500 ms", "ttft p95 <= 5 ms", "ttft p99 <= 0 ms", "ttft p99 <= 5", f"ttft p99 <= {10**400} ms"],
)
def test_a_service_level_that_no_run_could_have_is_refused(tmp_path, given):
    with pytest.raises(UsageError, match="is no service level"):
        start(tmp_path, "--goal", "faster", "--sla", given)


def start(folder, *words):
    argv = ["start", "--model", "m", "--workspace", str(folder), "--json", *words]
    return CliRunner().invoke(command, argv, catch_exceptions=False)


def test_an_accuracy_check_from_before_a_setting_was_changed_says_nothing_of_it(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    old = looked_at(workspace, "old", "ab", at="2026-01-01T00:00:00.000Z")
    name = start_loop(workspace, GOAL, "cpu", None, ())
    add_event(workspace, name, replace(BASELINE, evidence=old))
    add_event(workspace, name, replace(EVIDENCE, evidence=(old,)))
    setting = Setting(field="flag.max-num-seqs", before="1", after="4")
    add_event(workspace, name, replace(patch(), setting=setting, diff=setting_hash(setting)))
    with pytest.raises(UsageError, match="old began before the change was recorded"):
        add_event(workspace, name, accuracy_from(workspace, old, ""))
    new = looked_at(workspace, "new", "ab")
    assert add_event(workspace, name, accuracy_from(workspace, new, "")).phase == "performance"
