"""Ledgers whose evidence is other runs (highest load, search, loop): their answer made again from those beside them.

In: a run whose records name benches of the same workspace. Out: findings Y222; where a named run is not there, a note
says that what rests on it was only hash-checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import Any

from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, to_plain
from seatrial.core.verdict import Outcome, Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.order import RUN_ID
from seatrial.delivery.verify.bench_rules import workload_of
from seatrial.delivery.verify.bench_run_rules import SMOKE, VERDICT, labels_of, runs_of
from seatrial.delivery.verify.common import absent, differing, error, note
from seatrial.evidence import Run, StoredStep
from seatrial.measure.compare import BenchRun, Judged
from seatrial.measure.compare.verdict import figure
from seatrial.measure.loop import read_event, state_of, stop_rules
from seatrial.measure.loop.change import MOST_BYTES, diff_faults, not_compared
from seatrial.measure.loop.events import Accuracy, Baseline, Event, Patch, Performance, Stop
from seatrial.measure.search import highest
from seatrial.measure.search.highest import outcome_of, told
from seatrial.measure.search.rank import outcome_of as outcome_of_search
from seatrial.measure.search.rank import rank


def beside(view: EvidenceView, name: str) -> EvidenceView | None:
    """The run of that name in the same workspace; None if it is not there or its records are broken."""
    folder = view.run.folder.parent / name
    if not RUN_ID.fullmatch(name) or folder.is_symlink() or not (folder / "manifest.json").is_file():
        return None
    try:
        run = Run.read(folder)
    except SeatrialError:
        return None
    return EvidenceView(run) if not run.log.problems else None


def _absent(view: EvidenceView, name: str, what: str) -> Finding:
    return absent(view.run_id, f"the run {name} is not beside it: {what} is only hash-checked")


def _bodies(view: EvidenceView, kind: str) -> list[dict[str, Any]]:
    bodies = [to_plain(e.body) for e in view.run.log.entries if e.kind == kind]
    return [b for b in bodies if isinstance(b, dict)]


def _all_runs(bench: EvidenceView) -> list[BenchRun]:
    return [run for label in labels_of(bench) for run in runs_of(bench, label)]


def highest_load(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """Every trial from its bench, the answer by the same bisection over the trials."""
    facts, step = view.facts(stored.step), stored.step
    bounds, listed = view.manifest.arguments.get("bounds"), facts.get("trials")
    trials = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
    if not isinstance(bounds, dict) or not trials:
        yield error("Y222", step, "its bounds or its trials are not there")
        return
    known = _bodies(view, "trial")
    outcomes: list[tuple[float, Outcome]] = []
    for trial in trials:
        place, name = f"{step}: {bounds.get('by')} {trial.get('level')}", str(trial.get("run"))
        said = from_plain(Outcome, trial.get("outcome"), where=place)
        level = trial.get("level")
        if not isinstance(level, (int, float)):
            yield error("Y222", step, f"a trial is at the level {level!r}")
            return
        outcomes.append((float(level), said))
        if trial not in known:
            yield error("Y222", place, "no record of the ledger holds this trial")
        bench = beside(view, name)
        if bench is None:
            yield _absent(view, name, "the trial's outcome")
            continue
        runs = _all_runs(bench)
        load = workload_of(bench).load
        if (load.concurrency if bounds.get("by") == "concurrency" else load.rate) != trial.get("level"):
            yield error("Y222", place, f"the bench {name} was at another level")
        # A bench without a run, or a partial one, has neither held nor broken a level.
        partial = not runs or bool(runs[-1].metrics.partial)
        wanted = Verdict.INCONCLUSIVE if partial else runs[-1].sla.verdict
        if said.verdict is not wanted or (not partial and runs[-1].sla != said):
            yield error("Y222", place, f"its outcome is {said.verdict.value}, the bench makes it {wanted.value}")
    yield from _bisected(view, stored, bounds, outcomes)


def _bisected(
    view: EvidenceView, stored: StoredStep, bounds: dict[str, Any], outcomes: list[tuple[float, Outcome]]
) -> Iterator[Finding]:
    step, waiting, by = stored.step, list(outcomes), str(bounds.get("by"))

    def once(level: float) -> Outcome:
        at, outcome = waiting.pop(0) if waiting else (None, None)
        if outcome is None or at != level:
            raise UsageError(f"the bisection would try {by} {level:g}, the ledger has {at}")
        return outcome

    try:
        low, high, repeats = float(bounds["low"]), float(bounds["high"]), int(bounds.get("repeats", 3))
        again = highest(once, low=low, high=high, repeats=repeats, whole=by == "concurrency")
    except (KeyError, TypeError, ValueError, UsageError) as exc:
        yield error("Y222", step, f"its trials are not those of the search: {getattr(exc, 'message', exc)}")
        return
    for place, one, two in differing(view.facts(step).get("highest"), to_plain(again)):
        yield error("Y222", step, f"{place} is {one}, its trials come to {two}")
    wanted = outcome_of(again, by)
    if stored.outcome != wanted or stored.summary != told(again, by):
        said = f"{stored.outcome.verdict.value}, {stored.summary!r}"
        yield error("Y222", step, f"it says {said}; its trials come to {wanted.verdict.value}, {told(again, by)!r}")


def search(view: EvidenceView) -> Iterator[Finding]:
    """The ranking from the candidates' benches; it is not stored, so only its end can be held against it."""
    measured: dict[str, tuple[str, BenchRun | None, str]] = {}
    for body in _bodies(view, "tried"):
        name, run = str(body.get("name")), str(body.get("run") or "")
        found = None
        if run:
            bench = beside(view, run)
            if bench is None:
                yield _absent(view, run, "the ranking")
                return
            runs = _all_runs(bench)
            found = runs[-1] if runs else None
            if name not in labels_of(bench):
                yield error("Y222", f"tried {name}", f"the bench {run} is of {', '.join(labels_of(bench))}")
        measured[name] = (name, found, str(body.get("failed") or ""))
    if not measured or not view.gathered.finished:
        yield note(view.run_id, "the search did not finish, so there is no ranking to derive")
        return
    try:
        wanted = outcome_of_search(rank(list(measured.values())))
    except UsageError as exc:
        yield error("Y222", "finished", exc.message)
        return
    finished = view.gathered.finished
    if (finished.get("verdict"), finished.get("reason")) != (wanted.verdict.value, wanted.reason):
        said = f"{finished.get('verdict')}, {finished.get('reason')!r}"
        yield error(
            "Y222", "finished", f"it says {said}; its benches come to {wanted.verdict.value}, {wanted.reason!r}"
        )


def loop(view: EvidenceView) -> Iterator[Finding]:
    """The ledger replayed: every event was due, every figure is its run's, a stop's rule holds."""
    try:
        events = [read_event(body, f"record of {view.run_id}") for body in _bodies(view, "loop")]
        state = state_of(events)
    except (FileFormatError, UsageError) as exc:
        yield error("Y222", view.run_id, f"the ledger breaks a rule of the loop: {exc.message}")
        return
    patch: Patch | None = None
    for number, event in enumerate(events, 1):
        patch = event if isinstance(event, Patch) else patch
        if isinstance(event, Patch):
            yield from _change(view, event, number)
        yield from _event(view, event, number, state.goal.judged_by, patch)
        if isinstance(event, Stop) and event.rule:
            held = {h.rule: h for h in stop_rules(state_of(events[: number - 1]))}.get(event.rule)
            if held is None or not held.holds:
                yield error("Y222", f"event {number}", f"the stop rule {event.rule!r} does not hold")
    finished = view.gathered.finished
    if not finished and state.stopped is None:
        return
    won = state.stopped is not None and state.stopped.rule in ("win", "tie")
    wanted = (Verdict.PASS if won else Verdict.INCONCLUSIVE).value if state.stopped is not None else None
    if finished.get("verdict") != wanted or finished.get("signed_off"):
        yield error("Y222", "finished", f"the loop's verdict is {finished.get('verdict')}, its events come to {wanted}")


def _change(view: EvidenceView, event: Patch, number: int) -> Iterator[Finding]:
    """The change is what is kept of it: its difference, or its setting."""
    place = f"event {number}"
    if event.file is None and event.setting is None:
        yield note(place, "the change was recorded in words: there is nothing to derive it from")
    for fault in diff_faults(event, _stored(view, event)):
        yield error("Y222", place, f"the change is not what is kept of it: {fault}")


def _stored(view: EvidenceView, patch: Patch) -> bytes | None:
    """The kept difference; None where it is not there, or larger than any that is kept."""
    if patch.file is None or Path(patch.file.file).name != patch.file.file:
        return None
    file = view.run.artifacts_folder / patch.file.file
    if file.is_symlink() or not file.is_file() or file.stat().st_size > MOST_BYTES:
        return None
    return file.read_bytes()


def _event(view: EvidenceView, event: Event, number: int, judged_by: str, patch: Patch | None) -> Iterator[Finding]:
    if not isinstance(event, (Baseline, Performance, Accuracy)):
        return
    place = f"event {number}"
    run = beside(view, event.evidence.partition("/")[0])
    if run is None:
        yield _absent(view, event.evidence, f"the {type(event).__name__.lower()} of event {number}")
        return
    if isinstance(event, Baseline):
        sides = [runs_of(run, label) for label in labels_of(run)]
        values = [[v for r in side if (v := figure(r.metrics, judged_by)) is not None] for side in sides]
        if not any(v and len(v) == event.runs and isclose(fmean(v), event.value, rel_tol=1e-9) for v in values):
            yield error("Y222", place, f"the baseline is {event.value:g}, no side of {run.run_id} comes to it")
    elif isinstance(event, Performance):
        try:
            judged = from_plain(Judged, run.facts(VERDICT), where=f"facts of {run.run_id}")
        except FileFormatError:
            yield error("Y222", place, f"{run.run_id} holds no comparison")
            return
        found = judged.figures.get(judged_by)
        value, change = (found.mean_b, found.change) if found is not None else (None, None)
        said = (event.answer, event.reason, event.value, event.change)
        if said != (judged.answer, judged.reason, value, change):
            yield error("Y222", place, f"it says {event.answer}, {event.value}; {run.run_id} says {judged.answer}")
        setups = {r.setup.label: r.setup for r in _all_runs(run)}
        both = judged.label_a in setups and judged.label_b in setups
        why = not_compared(patch, setups[judged.label_a], setups[judged.label_b]) if patch is not None and both else ""
        if why:
            yield error("Y222", place, f"{run.run_id} does not compare the change of its round: {why}")
    else:
        kept = {s: k.stored.outcome.verdict for s, k in run.gathered.steps.items() if s.startswith(SMOKE)}
        if event.against:
            yield note(
                place, f"{run.run_id} held against {event.against} is not compared again: both runs are verified alone"
            )
        elif not kept or event.passed is not all(v is Verdict.PASS for v in kept.values()):
            yield error("Y222", place, f"it says passed={event.passed}, the steps of {run.run_id} say otherwise")
