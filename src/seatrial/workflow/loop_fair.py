"""Is a comparison one of this loop? It must be against what stands, on the loop's own question, and used once.

In: the state before the event and the event. Refuses (UsageError): a comparison whose side A is not the configuration
that stands (the baseline, or the last change that was kept), so that gains of different workloads, machines or settings
are never added up; and a run that already spoke for an earlier change.
"""

from __future__ import annotations

from statistics import fmean

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.evidence import Run, Workspace
from seatrial.measure.compare.fairness import fairness
from seatrial.measure.compare.setup import Setup
from seatrial.measure.compare.verdict import figure
from seatrial.measure.loop import Event, State
from seatrial.measure.loop.change import not_before, not_compared
from seatrial.measure.loop.events import Accuracy, Baseline, Patch, Performance
from seatrial.workflow.bench import bench_runs, judged_of
from seatrial.workflow.loop_evidence import demand_evidence


class Standing(Record):
    """What a change is held against: the run it is kept in, and its setup if that run tells it."""

    place: str = ""
    setup: Setup | None = None


def demand_fair(workspace: Workspace, state: State, event: Event) -> None:
    """See the module's text; events of other kinds pass."""
    if isinstance(event, Patch):
        _demand_beginning(workspace, state, event)
    if not isinstance(event, (Accuracy, Performance)):
        return
    name = event.evidence.partition("/")[0]
    for turn in state.rounds[:-1]:
        earlier = [found.evidence.partition("/")[0] for found in (turn.accuracy, turn.performance) if found is not None]
        if name in earlier:
            raise UsageError(f"{name} spoke for the change of round {turn.number}", mend="Measure this change.")
    if isinstance(event, Performance):
        _demand_standing(workspace, state, event)
        _demand_change(workspace, state, event)


def _demand_beginning(workspace: Workspace, state: State, event: Patch) -> None:
    """A setting changes what stands, not something else."""
    standing = _standing(workspace, state)
    if event.setting is None or standing.setup is None:
        return
    if why := not_before(event.setting, standing.setup):
        raise UsageError(f"the change does not begin at what stands, {standing.place}: {why}", mend="Correct --change.")


def compares(workspace: Workspace, place: str, change: Patch) -> bool:
    """Whether a run is a comparison that served the change on one side, and what was before on the other."""
    return _uncompared(demand_evidence(workspace, place), change) == ""


def _uncompared(run: Run, change: Patch) -> str | None:
    """Why a comparison's sides do not differ in the change alone; None for a run that compares nothing."""
    judged = judged_of(run)
    sides = {r.setup.label: r.setup for r in bench_runs(run)}
    if judged is None or judged.label_a not in sides or judged.label_b not in sides:
        return None
    return not_compared(change, sides[judged.label_a], sides[judged.label_b])


def _demand_change(workspace: Workspace, state: State, event: Performance) -> None:
    """The comparison's sides differ in the recorded change, and in no other setting."""
    run = demand_evidence(workspace, event.evidence)
    turn = state.rounds[-1]
    if why := _uncompared(run, turn.patch):
        raise UsageError(
            f"{run.run_id} does not compare the change of round {turn.number}, {turn.patch.change}: {why}",
            mend="Measure the change that was recorded.",
        )


def _demand_standing(workspace: Workspace, state: State, event: Performance) -> None:
    standing = _standing(workspace, state)
    if standing.setup is None:
        return
    run = demand_evidence(workspace, event.evidence)
    judged = judged_of(run)
    against = next((r.setup for r in bench_runs(run) if judged is not None and r.setup.label == judged.label_a), None)
    if against is None:
        return
    # What neither knows the comparison itself has judged.
    odd = [d for d in fairness(standing.setup, against, ()).forbidden() if not (d.a is None and d.b is None)]
    if odd:
        told = ", ".join(f"{d.field} ({d.a} there, {d.b} here)" for d in odd[:4])
        raise UsageError(
            f"{run.run_id} compares with another configuration than what stands, {standing.place}: {told}",
            mend="Compare with what stands, or record a new baseline first.",
        )


def _standing(workspace: Workspace, state: State) -> Standing:
    """The last baseline, or the change kept after it."""
    # What was kept stands, faster or not.
    kept = {id(r.performance) for r in state.rounds if r.lesson is not None and r.lesson.kept}
    found = Standing()
    for event in state.events:
        if isinstance(event, Baseline):
            found = Standing(place=event.evidence, setup=_baseline(workspace, event, state.goal.judged_by))
        elif isinstance(event, Performance) and id(event) in kept:
            run = demand_evidence(workspace, event.evidence)
            judged = judged_of(run)
            label = judged.label_b if judged is not None else ""
            setup = next((r.setup for r in bench_runs(run) if r.setup.label == label), None)
            found = Standing(place=event.evidence, setup=setup)
    return found


def _baseline(workspace: Workspace, event: Baseline, judged_by: str) -> Setup | None:
    """Of a run with two sides the baseline is the one whose figures have its mean."""
    runs = bench_runs(demand_evidence(workspace, event.evidence))
    for label in dict.fromkeys(r.setup.label for r in runs):
        side = [r for r in runs if r.setup.label == label]
        values = [v for r in side if (v := figure(r.metrics, judged_by)) is not None]
        if values and abs(fmean(values) - event.value) <= 1e-9 * abs(event.value):
            return side[0].setup
    return runs[0].setup if len({r.setup.label for r in runs}) == 1 else None
