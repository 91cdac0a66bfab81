"""The stop rules, each evaluated from the ledger alone, and what is to be done next.

In: a `State`. Out: `Held`s. Sources: the stop conditions of xllm-workflow; the distance of rule 4 is
(theoretical - current) / theoretical, and "at its limit" is within 5 %.
"""

from __future__ import annotations

from seatrial.core.record import Record
from seatrial.measure.compare.statistics import TIE, TIE_RUNS
from seatrial.measure.loop.events import Blocked, Bottleneck, Limit
from seatrial.measure.loop.state import State, more_is_better

AT_LIMIT = 0.05
NO_PROGRESS = 3


class Held(Record):
    """A rule and whether it allows to stop now, and why (not)."""

    rule: str
    holds: bool
    why: str


def stop_rules(state: State) -> tuple[Held, ...]:
    """All six, in their order."""
    return (_win(state), _tie(state), _limit(state), _bottleneck(state), _no_progress(state), _blocked(state))


def next_step(state: State) -> str:
    """One line: what is due, with the command."""
    held = [h for h in stop_rules(state) if h.holds]
    steps = {
        "baseline": "measure the baseline: seatrial bench run …; then seatrial loop record baseline RUN",
        "evidence": "explain the gap: profile, capacity; then seatrial loop record evidence RUN --hypothesis …",
        "patch": "make one reviewable change; then seatrial loop record patch …",
        "accuracy": "check the answers; then seatrial loop record accuracy RUN",
        "performance": "compare with the baseline: seatrial bench ab …; then seatrial loop record performance RUN",
        "record": "write down what was learnt: seatrial loop record lesson TEXT --kept|--rolled-back",
        "stopped": "nothing: the loop has stopped",
    }
    due = steps[state.phase]
    if held and state.phase in ("evidence", "patch", "stopped"):
        return f"seatrial loop stop --rule {held[0].rule} ({held[0].why}); or go on: {due}"
    return due


def _best_values(state: State) -> tuple[float, ...]:
    """The run-level values of the best round that counts."""
    found = [r.performance for r in state.shown if r.performance is not None]
    known = {p.value: p.values for p in found if p.values and p.value is not None}
    if not known:
        return ()
    return known[max(known) if more_is_better(state.goal.judged_by) else min(known)]


def _win(state: State) -> Held:
    name = "win"
    if state.goal.reference is None:
        return Held(rule=name, holds=False, why="the goal names no reference")
    if not state.gains:
        return Held(rule=name, holds=False, why="no round has improved yet")
    if not state.shown:
        return Held(rule=name, holds=False, why=f"the service level {state.goal.sla} was not shown to hold")
    gap = state.gap
    if gap is None or gap >= 0:
        return Held(rule=name, holds=False, why=f"the gap is {gap:+.1%}" if gap is not None else "the gap is unknown")
    return Held(rule=name, holds=True, why=f"better than the reference by {-gap:.1%} under the same service level")


def _tie(state: State) -> Held:
    reference, values = state.goal.reference, _best_values(state)
    if reference is None or not values:
        level = f" under {state.goal.sla}" if state.goal.sla else ""
        return Held(rule="tie", holds=False, why=f"no reference, or no kept round with run-level values{level}")
    if len(values) < TIE_RUNS:
        return Held(rule="tie", holds=False, why=f"{len(values)} runs, a tie needs {TIE_RUNS}")
    worst = max(abs(v - reference) / reference for v in values)
    holds = worst <= TIE
    return Held(rule="tie", holds=holds, why=f"the furthest of {len(values)} runs is {worst:.1%} from the reference")


def _limit(state: State) -> Held:
    found = [e for e in state.events if isinstance(e, Limit)]
    if not found:
        return Held(rule="hardware-limit", holds=False, why="no limit is named")
    last = found[-1]
    return Held(rule="hardware-limit", holds=bool(last.evidence), why=f"{last.name} ({', '.join(last.evidence)})")


def _bottleneck(state: State) -> Held:
    found = [e for e in state.events if isinstance(e, Bottleneck)]
    if not found:
        return Held(rule="bottleneck-at-limit", holds=False, why="no bottleneck was measured against its limit")
    last = found[-1]
    distance = (last.theoretical - last.current) / last.theoretical
    why = f"{last.name}: {last.current:g} of {last.theoretical:g} {last.unit}, {distance:.1%} from the limit"
    return Held(rule="bottleneck-at-limit", holds=0 <= distance <= AT_LIMIT and bool(last.evidence), why=why)


def _no_progress(state: State) -> Held:
    closed = [r for r in state.rounds if r.lesson is not None]
    last = closed[-NO_PROGRESS:]
    holds = len(last) == NO_PROGRESS and not any(r.improved for r in last)
    count = next((i for i, r in enumerate(reversed(closed)) if r.improved), len(closed))
    return Held(rule="no-progress", holds=holds, why=f"{count} rounds in a row without progress")


def _blocked(state: State) -> Held:
    last = state.events[-1]
    if isinstance(last, Blocked):
        return Held(rule="decision-needed", holds=True, why=last.needs)
    return Held(rule="decision-needed", holds=False, why="nothing is said to be missing")
