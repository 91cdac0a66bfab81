"""A kept accuracy check as the loop's event: the smokes of a bench, or a rung of `seatrial accuracy run`.

In: the run, and for a rung that scores a data set the run from before the change that it is held against. Out: the
event. Refuses (UsageError): what looked at no answer, what is neither good nor bad, a score that nothing is said of.
"""

from __future__ import annotations

from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict
from seatrial.evidence import Run, StoredStep, Workspace
from seatrial.measure.accuracy.compare import compare
from seatrial.measure.accuracy.records import SMOKE
from seatrial.measure.loop.events import Accuracy
from seatrial.workflow.accuracy import accuracy_step, read_kept
from seatrial.workflow.bench import ACCURACY
from seatrial.workflow.loop_evidence import demand_evidence


def accuracy_from(workspace: Workspace, place: str, diff: str, against: str = "") -> Accuracy:
    """`against`: the rung of the same questions from before the change; a rung without one wrong answer needs none."""
    run = demand_evidence(workspace, place)
    if run.manifest.arguments.get("kind") == "accuracy":
        return _rung(workspace, run, diff, against)
    if against:
        raise UsageError(f"{place} is no run of `seatrial accuracy run`", mend="Leave --against out.")
    return _smokes(run, place, diff)


def _rung(workspace: Workspace, run: Run, diff: str, against: str) -> Accuracy:
    stored = accuracy_step(run)
    if stored is None:
        raise UsageError(
            f"run {run.run_id} holds no rung of the ladder", mend="Name a run of `seatrial accuracy run` or `bench ab`."
        )
    level = _level(run, stored)
    if level in ("L0", "unknown"):
        raise UsageError(f"run {run.run_id} is of level {level}: no answer was judged", mend="Ask L1 or above.")
    if against and level in SMOKE:
        raise UsageError(f"a rung of level {level} has no score to hold against {against}", mend="Leave --against out.")
    outcome, held = stored.outcome, ""
    if level not in SMOKE and outcome.verdict is Verdict.PASS:
        # From L3 on a rung passes when it is whole, whatever the score: only a comparison says that nothing was lost.
        rung = read_kept(run)
        if against:
            before = demand_evidence(workspace, against)
            if before.run_id == run.run_id:
                raise UsageError(f"{against} is held against itself", mend="Name the run from before the change.")
            outcome, held = compare(read_kept(before), rung).outcome, before.run_id
        elif rung.score.num_correct < rung.score.num_total:
            raise UsageError(
                f"{run.run_id} has {rung.score.num_correct} of {rung.score.num_total} right: worse than before?",
                mend="Name the accuracy run from before the change with --against.",
            )
    if outcome.verdict is Verdict.INCONCLUSIVE:
        raise UsageError(f"run {run.run_id} is inconclusive: {outcome.reason}", mend="Ask again, or ask more.")
    return Accuracy(
        evidence=run.run_id,
        passed=outcome.verdict is Verdict.PASS,
        level=level,
        reason=outcome.reason,
        diff=diff,
        against=held,
    )


def _smokes(run: Run, place: str, diff: str) -> Accuracy:
    """The accuracy steps of a bench: every side's must be there and pass; the level is the lowest of theirs."""
    steps = [s for s in run.steps().values() if s.step.startswith(ACCURACY)]
    if not steps:
        raise UsageError(f"{place} holds no accuracy check", mend="Name a run that has one.")
    sides = run.manifest.arguments.get("sides")
    labels = [str(s.get("label")) for s in sides if isinstance(s, dict)] if isinstance(sides, list) else []
    missing = [label for label in labels if f"{ACCURACY}{label}" not in {s.step for s in steps}]
    bad = [f"{s.step}: {s.outcome.reason}" for s in steps if s.outcome.verdict is Verdict.FAIL]
    open_ = [f"{s.step}: {s.outcome.reason}" for s in steps if s.outcome.verdict is not Verdict.PASS]
    if open_ and not bad:
        raise UsageError(f"{place} could not tell: {'; '.join(open_)}", mend="Ask again, and name that run.")
    if missing and not bad:
        raise UsageError(
            f"{place} looked at no answer of {', '.join(missing)}", mend="Name a run that went on to its end."
        )
    level = min((_level(run, s) for s in steps), key=lambda found: "" if found == "unknown" else found)
    return Accuracy(evidence=run.run_id, passed=not bad, level=level, reason="; ".join(bad), diff=diff)


def _level(run: Run, stored: StoredStep) -> str:
    """What the facts of the step say of it; `unknown` where they say nothing."""
    facts = run.facts_of(stored)
    return str(facts.get("level") or "unknown") if isinstance(facts, dict) else "unknown"
