"""What a loop rests on: runs of this workspace that are there, and kept benches as the loop's events."""

from __future__ import annotations

from statistics import fmean

from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict
from seatrial.evidence import Run, Workspace
from seatrial.measure.compare import BenchRun
from seatrial.measure.compare.verdict import figure
from seatrial.measure.loop.events import Baseline, Performance
from seatrial.workflow.bench import bench_runs, judged_of


def demand_evidence(workspace: Workspace, place: str) -> Run:
    """The run that `RUN` or `RUN/step` names; raises UsageError if the run or its step is not there.

    Raises WorkspaceError for a run whose records were changed: nothing rests on those.
    """
    name, _, step = place.partition("/")
    run = Run.read(workspace.run_folder(name)).sound()
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


def _holds(runs: list[BenchRun]) -> bool | None:
    """Does the service level hold in every run? None without one, or where it is unknown."""
    verdicts = {r.sla.verdict for r in runs}
    if Verdict.FAIL in verdicts:
        return False
    return True if verdicts == {Verdict.PASS} else None
