"""The loop's ledger in the workspace: a run whose records of kind `loop` are its events, chained by hashes.

An event is checked against the state before it is written, and its evidence must be there: a run of this workspace, as
`RUN` or `RUN/step`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from statistics import fmean

import msgspec

from seatrial.core.errors import UsageError
from seatrial.core.record import to_plain
from seatrial.core.verdict import Verdict
from seatrial.evidence import Run, Workspace
from seatrial.evidence.manifest import git_state
from seatrial.measure.compare import BenchRun
from seatrial.measure.compare.verdict import figure
from seatrial.measure.loop import Event, State, after, read_event, state_of, stop_rules
from seatrial.measure.loop.events import Accuracy, Baseline, Goal, Patch, Performance, Stop
from seatrial.targets import load_target
from seatrial.workflow.begin import manifest_for
from seatrial.workflow.bench import ACCURACY, bench_runs, judged_of

EVENT = "loop"


def start_loop(workspace: Workspace, goal: Goal, target: str, overrides: Path | None, argv: tuple[str, ...]) -> str:
    """A new ledger; its run's name."""
    located = load_target(target, overrides)
    name = workspace.new_run_id("loop")
    manifest = manifest_for(
        name,
        arguments={"kind": "loop", "goal": to_plain(goal)},
        checkpoint=goal.model,
        located=located,
        python="",
        versions={},
        inputs={},
        argv=argv,
    )
    run = Run.create(workspace.runs_folder / name, manifest)
    try:
        run.append(EVENT, goal)
    finally:
        run.close()
    return name


def loop_folder(workspace: Workspace, name: str) -> Path:
    """The ledger of that name; `last` is the newest loop."""
    if name != "last":
        return workspace.run_folder(name)
    for folder in reversed(workspace.run_folders()):
        if Run.read(folder).manifest.arguments.get("kind") == "loop":
            return folder
    raise UsageError(f"there is no loop in {workspace.root}", mend="Start one with `seatrial loop start`.")


def events_of(run: Run) -> list[Event]:
    """The ledger's events; raises UsageError for a run that is no loop."""
    found = [read_event(to_plain(e.body), f"{run.run_id} record {e.seq}") for e in run.log.entries if e.kind == EVENT]
    if not found:
        raise UsageError(f"run {run.run_id} is no loop", mend="See `seatrial loop status`.")
    return found


def loop_state(workspace: Workspace, name: str) -> State:
    return state_of(events_of(Run.read(loop_folder(workspace, name))))


def add_event(workspace: Workspace, name: str, event: Event) -> State:
    """Check and write; the state after it."""
    folder = loop_folder(workspace, name)
    for place in evidence_of(event):
        demand_evidence(workspace, place)
    run = Run.resume(folder)
    try:
        before = state_of(events_of(run))
        state = after(before, event)
        _demand_newer(workspace, run, before, event)
        _demand_rule(before, event)
        run.append(EVENT, event)
        if state.stopped is not None:
            verdict = Verdict.PASS if state.stopped.rule in ("win", "tie") else Verdict.INCONCLUSIVE
            reason = f"{state.stopped.rule or 'stopped by hand'}: {state.stopped.reason}"
            run.append("finished", {"verdict": verdict, "signed_off": False, "reason": reason, "kind": "loop"})
    finally:
        run.close()
    return state


def _demand_newer(workspace: Workspace, ledger: Run, state: State, event: Event) -> None:
    """What is said of a code change must have been measured with it: the run began after the change was recorded."""
    if not isinstance(event, (Accuracy, Performance)) or not state.rounds[-1].patch.commit:
        return
    recorded = max(e.at for e in ledger.log.entries if e.kind == EVENT and to_plain(e.body).get("kind") == "patch")
    run = demand_evidence(workspace, event.evidence)
    if run.manifest.created_at < recorded:
        raise UsageError(
            f"{run.run_id} began before the change was recorded", mend="Measure the change, and name that run."
        )


def _demand_rule(state: State, event: Event) -> None:
    """A stop that names a rule needs the rule to hold."""
    if not isinstance(event, Stop) or not event.rule:
        return
    rules = {h.rule: h for h in stop_rules(state)}
    if event.rule not in rules:
        raise UsageError(f"unknown stop rule {event.rule!r}", mend=f"Known: {', '.join(rules)}.")
    if not rules[event.rule].holds:
        raise UsageError(
            f"the rule {event.rule} does not hold: {rules[event.rule].why}", mend="See `seatrial loop status`."
        )


def evidence_of(event: Event) -> tuple[str, ...]:
    """The places an event rests on."""
    value = getattr(event, "evidence", ())
    return (value,) if isinstance(value, str) else tuple(value)


def demand_evidence(workspace: Workspace, place: str) -> Run:
    """The run that `RUN` or `RUN/step` names; raises UsageError if the run or its step is not there."""
    name, _, step = place.partition("/")
    run = Run.read(workspace.run_folder(name))
    if step and step not in run.steps():
        raise UsageError(f"run {run.run_id} has no step {step!r}", mend=f"It has {', '.join(run.steps()) or 'none'}.")
    return run


def baseline_from(workspace: Workspace, place: str, judged_by: str) -> Baseline:
    """The event for a kept bench run, `RUN` or `RUN:LABEL`."""
    name, _, label = place.partition(":")
    run = demand_evidence(workspace, name)
    runs = [r for r in bench_runs(run) if not label or r.setup.label == label]
    values = [v for r in runs if (v := figure(r.metrics, judged_by)) is not None]
    if not runs or len(values) < len(runs) or len({r.setup.label for r in runs}) != 1:
        raise UsageError(
            f"{place} gives no {judged_by} for one side", mend="Name a run of `seatrial bench`, RUN:LABEL."
        )
    return Baseline(
        evidence=run.run_id,
        value=fmean(values),
        runs=len(values),
        sla=str(runs[0].setup.get("sla") or ""),
        sla_holds=_holds(runs),
        is_formal=all(r.level == "formal" and r.metrics.is_complete for r in runs),
    )


def performance_from(workspace: Workspace, place: str, judged_by: str, diff: str) -> Performance:
    """The event for a kept comparison (`seatrial bench ab`)."""
    run = demand_evidence(workspace, place)
    judged = judged_of(run)
    if judged is None:
        raise UsageError(f"{place} holds no comparison", mend="Name a run of `seatrial bench ab`.")
    if judged.judged_by != judged_by:
        raise UsageError(f"{place} was judged by {judged.judged_by}, this loop by {judged_by}", mend="Compare again.")
    side = [r for r in bench_runs(run) if r.setup.label == judged.label_b]
    values = tuple(v for r in side if (v := figure(r.metrics, judged_by)) is not None)
    found = judged.figures.get(judged_by)
    return Performance(
        evidence=run.run_id,
        answer=judged.answer,
        reason=judged.reason,
        # Without a fair comparison there is a reason and no figure.
        value=found.mean_b if found is not None else None,
        values=values if found is not None else (),
        change=found.change if found is not None else None,
        sla=str(side[0].setup.get("sla") or "") if side else "",
        sla_holds=_holds(side),
        diff=diff,
    )


def accuracy_from(workspace: Workspace, place: str, diff: str) -> Accuracy:
    """The event for the accuracy steps of a kept run: every side's must be there and pass; the level is theirs."""
    run = demand_evidence(workspace, place)
    steps = [s for s in run.steps().values() if s.step.startswith(ACCURACY)]
    if not steps:
        raise UsageError(f"{place} holds no accuracy check", mend="Name a run that has one.")
    sides = run.manifest.arguments.get("sides")
    labels = [str(s.get("label")) for s in sides if isinstance(s, dict)] if isinstance(sides, list) else []
    missing = [label for label in labels if f"{ACCURACY}{label}" not in {s.step for s in steps}]
    bad = [f"{s.step}: {s.outcome.reason}" for s in steps if s.outcome.verdict is not Verdict.PASS]
    if missing and not bad:
        raise UsageError(
            f"{place} looked at no answer of {', '.join(missing)}", mend="Name a run that went on to its end."
        )
    smokes = [msgspec.json.decode(run.artifact(s.facts).read_bytes()) for s in steps]
    levels = sorted({str(s.get("level") or "unknown") if isinstance(s, dict) else "unknown" for s in smokes})
    return Accuracy(evidence=run.run_id, passed=not bad, level=", ".join(levels), reason="; ".join(bad), diff=diff)


def patch_from(repository: Path | None, change: str, hypothesis: str, expected: str, risks: str) -> Patch:
    """The change as it is now: the difference from the commit, or a setting said in words."""
    state = git_state(repository) if repository is not None else None
    if repository is not None and state is None:
        raise UsageError(
            f"{repository} is no git checkout", mend="Name the checkout, or say the setting with --change."
        )
    if state is None and not change.strip():
        raise UsageError("what is the change?", mend="Give --repo CHECKOUT, or --change 'flag: old -> new'.")
    setting = hashlib.sha256(change.strip().encode()).hexdigest() if change.strip() else ""
    return Patch(
        diff=state.changes if state is not None else setting,
        change=change,
        hypothesis=hypothesis,
        expected=expected,
        risks=risks,
        commit=state.commit if state is not None else "",
        paths=state.dirty if state is not None else (),
    )


def _holds(runs: list[BenchRun]) -> bool | None:
    """Does the service level hold in every run? None without one, or where it is unknown."""
    verdicts = {r.sla.verdict for r in runs}
    if Verdict.FAIL in verdicts:
        return False
    return True if verdicts == {Verdict.PASS} else None
