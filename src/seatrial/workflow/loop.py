"""The loop's ledger in the workspace: a run whose records of kind `loop` are its events, chained by hashes.

An event is checked against the state before it is written, and its evidence must be there: a run of this workspace, as
`RUN` or `RUN/step`.
"""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import UsageError
from seatrial.core.record import from_plain, replace, to_plain
from seatrial.core.verdict import Verdict
from seatrial.evidence import Run, Workspace
from seatrial.measure.loop import Event, State, after, read_event, state_of, stop_rules
from seatrial.measure.loop.events import Accuracy, DiffFile, Evidence, Goal, Patch, Performance, Stop
from seatrial.targets import load_target
from seatrial.workflow.begin import manifest_for
from seatrial.workflow.loop_accuracy import accuracy_from
from seatrial.workflow.loop_change import present_diff, recorded_change
from seatrial.workflow.loop_evidence import baseline_from, demand_evidence, performance_from
from seatrial.workflow.loop_fair import compares, demand_fair

__all__ = [
    "accuracy_from",
    "add_event",
    "baseline_from",
    "demand_evidence",
    "events_of",
    "evidence_of",
    "loop_folder",
    "loop_state",
    "performance_from",
    "present_diff",
    "recorded_change",
    "start_loop",
]
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
    """The ledger's events; raises UsageError for a run that is no loop, WorkspaceError for one that was changed."""
    run.sound()
    found = [read_event(to_plain(e.body), f"{run.run_id} record {e.seq}") for e in run.log.entries if e.kind == EVENT]
    if not found:
        raise UsageError(f"run {run.run_id} is no loop", mend="See `seatrial loop status`.")
    return found


def loop_state(workspace: Workspace, name: str) -> State:
    return state_of(events_of(Run.read(loop_folder(workspace, name))))


def add_event(workspace: Workspace, name: str, event: Event, diff: bytes = b"") -> State:
    """Check and write; the state after it. `diff`: the difference that a change of code is, to be kept beside it."""
    folder = loop_folder(workspace, name)
    for place in evidence_of(event):
        if demand_evidence(workspace, place).manifest.arguments.get("kind") == "loop":
            raise UsageError(f"{place} is a loop's ledger, which measures nothing", mend="Name the run that shows it.")
    run = Run.resume(folder)
    try:
        before = state_of(events_of(run))
        state = after(before, event)
        _demand_newer(workspace, run, before, event)
        if isinstance(event, Evidence):
            _demand_present(workspace, before, event)
        _demand_same_model(workspace, before, event)
        demand_fair(workspace, before, event)
        _demand_rule(before, event)
        if isinstance(event, Patch) and diff:
            kept = run.keep_bytes(f"round-{len(state.rounds)}.patch", diff)
            event = replace(event, file=from_plain(DiffFile, to_plain(kept), where=run.run_id))
            state = after(before, event)
        run.append(EVENT, event)
        if state.stopped is not None:
            verdict = Verdict.PASS if state.stopped.rule in ("win", "tie") else Verdict.INCONCLUSIVE
            reason = f"{state.stopped.rule or 'stopped by hand'}: {state.stopped.reason}"
            run.append("finished", {"verdict": verdict, "signed_off": False, "reason": reason, "kind": "loop"})
    finally:
        run.close()
    return state


def _demand_newer(workspace: Workspace, ledger: Run, state: State, event: Event) -> None:
    """What is said of a change must have been measured with it: the run began after the change was recorded.

    A comparison shows by its own sides that it is of a setting; an accuracy check alone does not.
    """
    if not isinstance(event, (Accuracy, Performance)):
        return
    change = state.rounds[-1].patch
    if not change.commit and (
        change.setting is None or isinstance(event, Performance) or compares(workspace, event.evidence, change)
    ):
        return
    recorded = max(e.at for e in ledger.log.entries if e.kind == EVENT and to_plain(e.body).get("kind") == "patch")
    run = demand_evidence(workspace, event.evidence)
    before = getattr(event, "against", "")
    if before and demand_evidence(workspace, before).manifest.created_at >= recorded:
        raise UsageError(f"{before} began after the change was recorded", mend="Hold it against a run from before.")
    if run.manifest.created_at < recorded:
        raise UsageError(
            f"{run.run_id} began before the change was recorded", mend="Measure the change, and name that run."
        )


def _demand_present(workspace: Workspace, state: State, event: Evidence) -> None:
    """Some of it is not older than the last change that was kept, as measured: what was before explains what was."""
    last = state.rounds[-1] if state.rounds else None
    if last is None or last.performance is None or last.lesson is None or not last.lesson.kept:
        return
    since = demand_evidence(workspace, last.performance.evidence).manifest.created_at
    if all(demand_evidence(workspace, place).manifest.created_at < since for place in event.evidence):
        raise UsageError(
            f"{event.evidence[0]} began before the change that was kept was measured",
            mend="Name a run of what stands now.",
        )


def _demand_same_model(workspace: Workspace, state: State, event: Event) -> None:
    """Baseline, accuracy and performance are of one checkpoint, as far as their manifests know it."""
    if not isinstance(event, (Accuracy, Performance)) or state.baseline is None:
        return
    base = demand_evidence(workspace, state.baseline.evidence)
    for place in evidence_of(event):
        run = demand_evidence(workspace, place)
        then, now = base.manifest.inputs.get("model"), run.manifest.inputs.get("model")
        if then and now and then != now:
            raise UsageError(
                f"{run.run_id} is of another checkpoint than the baseline {base.run_id}",
                mend="Measure the baseline's checkpoint.",
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
    places = (value,) if isinstance(value, str) else tuple(value)
    return (*places, event.against) if isinstance(event, Accuracy) and event.against else places
