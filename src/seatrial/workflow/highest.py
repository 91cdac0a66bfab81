"""The highest rate or concurrency under a service level: every trial a bench of its own, every answer in one ledger.

The bisection asks the same levels in the same order whenever it gets the same answers, so a call that goes on with an
earlier ledger is answered from it first. A trial that was neither held nor broken is tried again then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.record import Record, from_plain, replace, to_json, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Outcome, Verdict, inconclusive
from seatrial.evidence import Run, Workspace
from seatrial.evidence.records import now, sha256
from seatrial.measure.load.workload import with_load
from seatrial.measure.search import Highest, highest
from seatrial.measure.search.highest import outcome_of, told
from seatrial.workflow.bench import BenchJob, run_bench
from seatrial.workflow.ledger import open_ledger

TRIAL = "trial"
STRIDE = 7919  # between the seeds of trials, far from the neighbours that a workload uses itself
STEP = "highest"


class Bounds(Record):
    """What is searched for: levels from `low` to `high`, each tried up to `repeats` times."""

    by: Literal["concurrency", "rate"]
    low: float
    high: float
    repeats: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high or self.repeats < 1:
            raise ValueError("the search needs 0 < low < high and at least one repeat")
        if self.by == "concurrency" and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError("a concurrency is a whole number: low and high must be")


class Trial(Record):
    """One bench at one level and whether the service level held there."""

    level: float
    run: str
    outcome: Outcome


class Found(Record):
    """The answer, with every trial behind it; `reused` were answered by an earlier call."""

    run_id: str
    outcome: Outcome
    highest: Highest
    trials: tuple[Trial, ...]
    reused: int


def highest_load(
    job: BenchJob,
    bounds: Bounds,
    *,
    workspace: Workspace,
    overrides: Path | None,
    resume: str | None = None,
    argv: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Found:
    """Search. Raises UsageError for a workload without a service level, or a ledger of another search."""
    if not job.workload.sla:
        raise UsageError("the workload names no service level to search under", mend="Add [[sla]] to its file.")
    arguments = {"job": to_plain(job), "bounds": to_plain(bounds)}
    with open_ledger(
        "highest",
        arguments,
        checkpoint=Path(job.checkpoint) if job.checkpoint else None,
        service=job.sides[0].service,
        target=job.target,
        workspace=workspace,
        overrides=overrides,
        resume=resume,
        argv=argv,
    ) as run:
        kept = [t for t in _trials(run) if t.outcome.verdict in (Verdict.PASS, Verdict.FAIL)]
        waiting = list(kept)
        trials: list[Trial] = []

        def once(level: float) -> Outcome:
            known = next((t for t in waiting if t.level == level), None)
            if known is not None:
                waiting.remove(known)
            else:
                known = _try(job, bounds, level, len(kept) + len(trials), workspace, overrides, argv, say)
                run.append(TRIAL, known)
            trials.append(known)
            say(f"{bounds.by} {level:g}: {known.outcome.verdict.value} {known.outcome.reason}")
            return known.outcome

        found = highest(
            once, low=bounds.low, high=bounds.high, repeats=bounds.repeats, whole=bounds.by == "concurrency"
        )
        answer = Found(
            run_id=run.run_id,
            outcome=outcome_of(found, bounds.by),
            highest=found,
            trials=tuple(trials),
            reused=len(kept) - len(waiting),
        )
        step = StepResult(step=STEP, outcome=answer.outcome, summary=told(found, bounds.by), facts=answer)
        run.store(step, inputs=sha256(to_json(run.manifest.arguments)), started_at=now(), duration_s=0.0)
        last = {"verdict": answer.outcome.verdict, "signed_off": False, "reason": step.summary, "kind": "highest"}
        run.append("finished", last)
        return answer


def _try(
    job: BenchJob,
    bounds: Bounds,
    level: float,
    number: int,
    workspace: Workspace,
    overrides: Path | None,
    argv: tuple[str, ...],
    say: Callable[[str], None],
) -> Trial:
    is_rate = bounds.by == "rate"
    workload = with_load(job.workload, concurrency=None if is_rate else int(level), rate=level if is_rate else None)
    if job.sides[0].service and workload.dataset.kind == "random":
        # One service answers every trial: the same prompts again would come from its prefix cache.
        workload = replace(workload, load=replace(workload.load, seed=workload.load.seed + STRIDE * (number + 1)))
    one = from_plain(BenchJob, {**to_plain(job), "workload": to_plain(workload), "runs": 1}, where="highest")
    ended = run_bench(one, workspace=workspace, overrides=overrides, argv=argv, say=say)
    outcome = ended.runs[-1].sla if ended.runs else inconclusive(ended.reason or "nothing was measured")
    if ended.runs and ended.runs[-1].metrics.partial and outcome.verdict is not Verdict.INCONCLUSIVE:
        # A service that died before its first answer has not broken a level either.
        outcome = inconclusive(f"the run is partial: {ended.runs[-1].metrics.partial}")
    return Trial(level=level, run=ended.run_id, outcome=outcome)


def _trials(run: Run) -> list[Trial]:
    return [
        from_plain(Trial, to_plain(e.body), where=f"{run.run_id} record {e.seq}")
        for e in run.log.entries
        if e.kind == TRIAL
    ]
