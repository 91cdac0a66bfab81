"""The loop's state machine: target, baseline, evidence, patch, accuracy, performance, record, and round again.

In: the ledger's events in their order. Out: `State`, and for an event that is not due yet the refusal. Rules: no patch
without a baseline and evidence; one change a round; accuracy before performance; what is measured is the change that
was recorded. Refuses with UsageError, which names what is missing.
A little over 250 lines: one function per event's refusals, which are read together.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.measure.accuracy.records import LEVELS
from seatrial.measure.loop.events import (
    Accuracy,
    Baseline,
    Blocked,
    Bottleneck,
    Event,
    Evidence,
    Goal,
    Lesson,
    Limit,
    Patch,
    Performance,
    Phase,
    Stop,
)

MORE = "`seatrial accuracy run --level …`, then `seatrial loop record accuracy RUN`."


class Round(Record):
    """One turn: the change, what was found of it, and the lesson that closed it."""

    number: int
    patch: Patch
    accuracy: Accuracy | None = None
    performance: Performance | None = None
    lesson: Lesson | None = None

    @property
    def improved(self) -> bool:
        """Kept and better beyond the noise, with sound answers."""
        ran = self.performance is not None and self.performance.answer == "pass"
        return bool(ran and self.accuracy and self.accuracy.passed and self.lesson and self.lesson.kept)


class State(Record):
    """`phase` is what is due next. `best` is the best value since the last baseline under the loop's service level."""

    goal: Goal
    phase: Phase
    baseline: Baseline | None
    evidence: tuple[Evidence, ...]
    rounds: tuple[Round, ...]
    events: tuple[Event, ...]
    stopped: Stop | None = None

    @property
    def gains(self) -> tuple[Round, ...]:
        """The rounds that improved on the last baseline: figures from before it are of another question."""
        number = first = 0
        for event in self.events:
            number += isinstance(event, Patch)
            first = number if isinstance(event, Baseline) else first
        return tuple(turn for turn in self.rounds[first:] if turn.improved)

    @property
    def shown(self) -> tuple[Round, ...]:
        """Those of `gains` that were shown to hold the loop's service level; all where it has none."""
        return tuple(r for r in self.gains if r.performance is not None and self._holds(r.performance))

    def _holds(self, found: Baseline | Performance) -> bool:
        return not self.goal.sla or (found.sla_holds is True and found.sla == self.goal.sla)

    @property
    def best(self) -> float | None:
        base = self.baseline
        values = [base.value] if base is not None and self._holds(base) else []
        values += [r.performance.value for r in self.shown if r.performance and r.performance.value is not None]
        return max(values) if values and more_is_better(self.goal.judged_by) else min(values, default=None)

    @property
    def gap(self) -> float | None:
        """(reference - target) / reference: positive while we are behind; for latencies the other way round."""
        best, reference = self.best, self.goal.reference
        if best is None or not reference:
            return None
        gap = (reference - best) / reference
        return gap if more_is_better(self.goal.judged_by) else -gap


def more_is_better(figure: str) -> bool:
    return figure.endswith("throughput")


def state_of(events: Sequence[Event]) -> State:
    """Replay the ledger. Raises UsageError for a ledger that does not begin with a goal or breaks a rule."""
    if not events or not isinstance(events[0], Goal):
        raise UsageError("a loop's ledger begins with its goal", mend="Start one with `seatrial loop start`.")
    state = State(goal=events[0], phase="baseline", baseline=None, evidence=(), rounds=(), events=(events[0],))
    for event in events[1:]:
        state = after(state, event)
    return state


def after(state: State, event: Event) -> State:
    """The state after `event`; raises UsageError if the event is not due."""
    if state.stopped is not None:
        raise UsageError("this loop has stopped", mend="Start another one with `seatrial loop start`.")
    baseline, evidence, rounds, phase = state.baseline, state.evidence, list(state.rounds), state.phase
    stopped = None
    current = rounds[-1] if rounds and rounds[-1].lesson is None else None
    if isinstance(event, Goal):
        raise UsageError("the goal is set already", mend="Start another loop for another goal.")
    if isinstance(event, Baseline):
        _baseline(state, event, current)
        baseline, phase = event, "evidence" if not evidence else "patch"
    elif isinstance(event, Evidence):
        if not event.evidence or not event.hypothesis.strip():
            raise UsageError("evidence needs ids and a hypothesis", mend="Say what it shows with --hypothesis.")
        evidence = (*evidence, event)
        phase = "patch" if phase == "evidence" and baseline is not None else phase
    elif isinstance(event, Patch):
        _patch(state, event, current)
        rounds.append(Round(number=len(rounds) + 1, patch=event))
        phase = "accuracy"
    elif isinstance(event, Accuracy):
        current = _due(current, "accuracy")
        _same_change(current, event.diff)
        least = state.goal.least_accuracy
        if event.passed and (event.level not in LEVELS or event.level < least):
            raise UsageError(f"the accuracy check is of level {event.level}, this loop asks for {least}", mend=MORE)
        before = current.accuracy
        if event.passed and before is not None and not before.passed and event.level < before.level:
            raise UsageError(
                f"the change of round {current.number} failed its accuracy check of level {before.level}",
                mend="A check that asks less does not answer it: record the lesson and close the round.",
            )
        rounds[-1] = Round(number=current.number, patch=current.patch, accuracy=event, performance=current.performance)
        # A change that breaks the answers is not measured: the round ends with what was learnt.
        phase = "performance" if event.passed and current.performance is None else "record"
    elif isinstance(event, Performance):
        current = _due(current, "performance")
        if current.accuracy is None:
            raise UsageError("accuracy comes before performance", mend="`seatrial loop record accuracy …` first.")
        if not current.accuracy.passed:
            raise UsageError("the change failed its accuracy check", mend="Record the lesson and close the round.")
        if current.performance is not None and current.performance.answer in ("pass", "fail"):
            # Asked often enough, noise alone gives any answer.
            raise UsageError(
                f"the comparison of round {current.number} has answered: {current.performance.answer}",
                mend="Record the lesson and close the round.",
            )
        _same_change(current, event.diff)
        rounds[-1] = Round(number=current.number, patch=current.patch, accuracy=current.accuracy, performance=event)
        phase = "record"
    elif isinstance(event, Lesson):
        current = _lesson(current, event)
        rounds[-1] = Round(
            number=current.number,
            patch=current.patch,
            accuracy=current.accuracy,
            performance=current.performance,
            lesson=event,
        )
        # The next change needs evidence that is newer than this one's result.
        phase, evidence = "evidence", ()
    elif isinstance(event, Stop):
        _worded(event.reason, "a stop needs its reason")
        phase, stopped = "stopped", event
    elif isinstance(event, (Limit, Bottleneck)):
        _worded(event.name, f"a {'limit' if isinstance(event, Limit) else 'bottleneck'} needs its name")
    elif isinstance(event, Blocked):
        _worded(event.needs, "say what is missing: a decision, hardware, data")
    return State(
        goal=state.goal,
        phase=phase,
        baseline=baseline,
        evidence=evidence,
        rounds=tuple(rounds),
        events=(*state.events, event),
        stopped=stopped,
    )


def _baseline(state: State, event: Baseline, current: Round | None) -> None:
    if current is not None:
        raise UsageError("a round is open: its baseline cannot be changed", mend="Close it with a lesson first.")
    if not event.is_formal:
        raise UsageError(f"{event.evidence} is a debug run, no baseline", mend="Measure again past the precheck gate.")
    if state.goal.sla and event.sla != state.goal.sla:
        raise UsageError(
            f"the baseline was measured under another service level ({event.sla or 'none'})",
            mend=f"Measure it under {state.goal.sla}.",
        )


def _patch(state: State, event: Patch, current: Round | None) -> None:
    if state.baseline is None:
        raise UsageError("no patch without a baseline", mend="`seatrial loop record baseline RUN` first.")
    if not state.evidence:
        raise UsageError("no patch without evidence", mend="`seatrial loop record evidence RUN …` first.")
    if current is not None:
        raise UsageError(
            f"round {current.number} is open: one change a round", mend="Close it with `loop record lesson` first."
        )
    if not event.diff:
        raise UsageError(
            "nothing differs from the commit: there is no change to measure", mend="Make the change first."
        )
    for turn in state.rounds:
        before = turn.patch
        if (before.diff, before.setting) == (event.diff, event.setting):
            raise UsageError(f"this very change was round {turn.number}", mend="See `seatrial loop status`.")
        was_kept = turn.lesson is not None and turn.lesson.kept
        if was_kept and event.commit and (before.commit, before.root) == (event.commit, event.root):
            raise UsageError(
                f"the difference from {event.commit[:12]} holds the change of round {turn.number}, which was kept",
                mend="Commit that one first, and name its commit with --base.",
            )
    for name in ("hypothesis", "expected", "risks"):
        if not getattr(event, name).strip():
            raise UsageError(f"a change needs its {name}", mend=f"Give --{name}.")


def _lesson(current: Round | None, event: Lesson) -> Round:
    current = _due(current, "a lesson")
    if current.accuracy is None:
        raise UsageError("the round has no accuracy result yet", mend="`seatrial loop record accuracy …` first.")
    if current.accuracy.passed and current.performance is None:
        raise UsageError("the round has no performance result yet", mend="`seatrial loop record performance …` first.")
    if not event.text.strip():
        raise UsageError("a lesson needs words", mend="Say what was learnt, also from a failure.")
    if event.kept and not current.accuracy.passed:
        raise UsageError("a change that failed its accuracy check is not kept", mend="Record it with --rolled-back.")
    return current


def _worded(text: str, message: str) -> None:
    """A rule that holds for words alone needs some."""
    if not text.strip():
        raise UsageError(message, mend="Say it in words.")


def _due(current: Round | None, what: str) -> Round:
    if current is None:
        raise UsageError(f"{what} without a change", mend="`seatrial loop record patch …` first.")
    return current


def _same_change(current: Round, diff: str) -> None:
    if current.patch.commit and not diff:
        raise UsageError(
            f"the change of round {current.number} is in a checkout: is it still there?", mend="Give --repo CHECKOUT."
        )
    if diff and diff != current.patch.diff:
        raise UsageError(
            f"the tree is not the change of round {current.number} any more",
            mend="Measure the change that was recorded.",
        )
