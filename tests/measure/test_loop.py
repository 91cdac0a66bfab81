"""The loop's state machine, its stop rules, and the ledger in a workspace."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from seatrial.cli.loop import command
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.evidence import Run, open_workspace
from seatrial.measure.loop import next_step, state_of, stop_rules
from seatrial.measure.loop.events import (
    Accuracy,
    Baseline,
    Blocked,
    Bottleneck,
    Evidence,
    Goal,
    Lesson,
    Limit,
    Patch,
    Performance,
    Stop,
)
from seatrial.workflow.loop import add_event, loop_state, start_loop

SLA = "ttft p99 <= 500 ms"
GOAL = Goal(goal="faster", model="m", framework="vllm", reference=120.0, reference_source="a paper", sla=SLA)
BASELINE = Baseline(evidence="run-0", value=100.0, runs=4, sla=SLA, sla_holds=True)
EVIDENCE = Evidence(evidence=("run-p",), hypothesis="host bound")


def patch(number=1):
    return Patch(diff=f"hash-{number}", change="x", hypothesis="h", expected="5 %", risks="none")


ACCURATE = Accuracy(evidence="run-a", passed=True, level="L2")


def faster(value=110.0, answer="pass", values=(), holds=True, sla=SLA):
    return Performance(
        evidence="run-b", answer=answer, reason="r", value=value, values=values, sla=sla, sla_holds=holds
    )


KEPT, LOST = Lesson(text="it helps", kept=True), Lesson(text="it does not", kept=False)


def turn(number, performance=None, lesson=KEPT):
    return [EVIDENCE, patch(number), ACCURATE, performance or faster(), lesson]


def test_the_whole_way_in_its_order():
    events = [GOAL]
    phases = []
    for event in [BASELINE, *turn(1)]:
        phases.append(state_of(events).phase)
        events.append(event)
    assert phases == ["baseline", "evidence", "patch", "accuracy", "performance", "record"]
    state = state_of(events)
    assert state.phase == "evidence"
    assert state.best == 110.0
    assert state.gap == pytest.approx((120 - 110) / 120)
    assert state.rounds[0].improved


@pytest.mark.parametrize(
    ("events", "event", "words"),
    [
        ([], patch(), "no patch without a baseline"),
        ([BASELINE], patch(), "no patch without evidence"),
        ([EVIDENCE], patch(), "no patch without a baseline"),
        ([BASELINE, EVIDENCE, patch()], patch(2), "one change a round"),
        ([BASELINE, EVIDENCE], Patch(diff="", change="", hypothesis="h", expected="e", risks="r"), "nothing differs"),
        ([BASELINE, EVIDENCE], Patch(diff="d", change="", hypothesis="", expected="e", risks="r"), "hypothesis"),
        ([BASELINE, *turn(1), EVIDENCE], patch(1), "was round 1"),
        ([BASELINE, *turn(1)], patch(2), "no patch without evidence"),
        ([BASELINE, EVIDENCE, patch()], faster(), "accuracy comes before performance"),
        (
            [BASELINE, EVIDENCE, patch(), Accuracy(evidence="a", passed=False, level="L2")],
            faster(),
            "failed its accuracy",
        ),
        ([BASELINE, EVIDENCE], ACCURATE, "without a change"),
        (
            [BASELINE, EVIDENCE, patch()],
            Accuracy(evidence="a", passed=True, level="L2", diff="other"),
            "not the change",
        ),
        ([BASELINE, EVIDENCE, patch()], KEPT, "no accuracy result"),
        ([BASELINE, EVIDENCE, patch(), ACCURATE], KEPT, "no performance result"),
        ([BASELINE, EVIDENCE, patch(), Accuracy(evidence="a", passed=False, level="L2")], KEPT, "not kept"),
        ([BASELINE, EVIDENCE, patch(), ACCURATE, faster()], Lesson(text=" ", kept=True), "needs words"),
        ([BASELINE, EVIDENCE, patch()], BASELINE, "a round is open"),
        ([], Baseline(evidence="r", value=1.0, runs=1, sla=SLA, is_formal=False), "debug run"),
        ([], Baseline(evidence="r", value=1.0, runs=1, sla="none"), "another service level"),
        ([BASELINE], Evidence(evidence=(), hypothesis="h"), "needs ids"),
        ([Stop(rule="", reason="enough")], BASELINE, "has stopped"),
        ([BASELINE], GOAL, "set already"),
    ],
)
def test_what_is_not_due_is_refused(events, event, words):
    with pytest.raises(UsageError, match=words):
        state_of([GOAL, *events, event])


def rules(*events, goal=GOAL):
    return {h.rule: h for h in stop_rules(state_of([goal, *events]))}


def test_a_win_needs_the_same_service_level_and_to_be_past_the_reference():
    assert not rules(BASELINE, *turn(1))["win"].holds
    assert rules(BASELINE, *turn(1, faster(121.0)))["win"].holds
    assert not rules(BASELINE, *turn(1, faster(121.0, holds=None)))["win"].holds
    assert not rules(BASELINE, *turn(1, faster(121.0, sla="other")))["win"].holds
    assert not rules(BASELINE, *turn(1, faster(121.0), LOST))["win"].holds


def test_a_tie_needs_three_runs_within_one_percent():
    assert rules(BASELINE, *turn(1, faster(120.0, values=(119.5, 120.5, 120.0))))["tie"].holds
    assert not rules(BASELINE, *turn(1, faster(120.0, values=(119.5, 120.5))))["tie"].holds
    assert not rules(BASELINE, *turn(1, faster(120.0, values=(117.0, 120.5, 122.0))))["tie"].holds


def test_three_rounds_without_progress_end_it_and_one_with_progress_does_not():
    worse = faster(99.0, answer="inconclusive")
    bad = [e for n in (1, 2, 3) for e in turn(n, worse, LOST)]
    assert rules(BASELINE, *bad)["no-progress"].holds
    mixed = [*turn(1, worse, LOST), *turn(2), *turn(3, worse, LOST)]
    assert not rules(BASELINE, *mixed)["no-progress"].holds
    assert not rules(BASELINE, *bad[:10])["no-progress"].holds


def test_the_other_rules_want_a_name_and_evidence():
    assert rules(BASELINE, Limit(name="UB size", evidence=("run-p",)))["hardware-limit"].holds
    close = Bottleneck(name="MatMul", current=540, theoretical=560, unit="TFLOP/s", evidence=("run-p",))
    far = Bottleneck(name="MatMul", current=300, theoretical=560, unit="TFLOP/s", evidence=("run-p",))
    past = Bottleneck(name="MatMul", current=600, theoretical=560, unit="TFLOP/s", evidence=("run-p",))
    assert rules(BASELINE, close)["bottleneck-at-limit"].holds
    assert "3.6% from the limit" in rules(BASELINE, close)["bottleneck-at-limit"].why
    assert not rules(BASELINE, far)["bottleneck-at-limit"].holds
    assert not rules(BASELINE, past)["bottleneck-at-limit"].holds
    assert rules(BASELINE, Blocked(needs="an A3 machine"))["decision-needed"].holds
    assert not any(r.holds for r in rules(BASELINE).values())


def test_for_a_latency_less_is_better():
    goal = Goal(
        goal="faster", model="m", framework="vllm", judged_by="ttft_ms.p50", reference=80.0, reference_source="x"
    )
    state = state_of([goal, Baseline(evidence="r", value=100.0, runs=4), *turn(1, faster(90.0, sla=""))])
    assert state.best == 90.0
    assert state.gap == pytest.approx(10 / 80)


def test_the_next_step_names_its_command():
    assert "bench run" in next_step(state_of([GOAL]))
    assert "loop stop --rule win" in next_step(state_of([GOAL, BASELINE, *turn(1, faster(130.0))]))


def test_the_ledger_is_kept_and_evidence_must_be_there(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    name = start_loop(workspace, GOAL, "cpu", None, ("loop", "start"))
    assert loop_state(workspace, "last").goal == GOAL
    with pytest.raises(UsageError, match="there is no run"):
        add_event(workspace, "last", Evidence(evidence=("nowhere",), hypothesis="h"))
    profile = replace(Run.read(workspace.run_folder(name)).manifest, run_id="profile", arguments={"kind": "profile"})
    Run.create(workspace.runs_folder / "profile", profile).close()
    state = add_event(workspace, "last", Evidence(evidence=("profile",), hypothesis="h"))
    assert len(state.events) == 2
    # Nothing that was refused is in the ledger.
    with pytest.raises(UsageError):
        add_event(workspace, "last", patch())
    assert len(loop_state(workspace, name).events) == 2
    add_event(workspace, name, Stop(rule="", reason="enough"))
    with pytest.raises(UsageError, match="has stopped"):
        add_event(workspace, name, Blocked(needs="x"))


def test_the_commands_start_show_and_stop(tmp_path):
    place = ["--workspace", str(tmp_path)]
    run = CliRunner()
    started = run.invoke(command, ["start", "--goal", "faster", "--model", "m", *place, "--json"])
    assert started.exit_code == 0, started.output
    assert json.loads(started.stdout)["state"]["phase"] == "baseline"
    due = run.invoke(command, ["next", *place])
    assert "record baseline" in due.output
    refused = run.invoke(command, ["stop", "--rule", "win", "--reason", "x", *place])
    assert isinstance(refused.exception, UsageError)
    assert "does not hold" in str(refused.exception)
    assert run.invoke(command, ["stop", "--reason", "enough", *place]).exit_code == 0
    assert "due: stopped" in run.invoke(command, ["status", *place]).output
