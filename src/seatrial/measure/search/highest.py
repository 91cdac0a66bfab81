"""The highest rate or concurrency that still holds the service level, by bisection, each level measured several times.

In: a function that measures one level once. Out: `Highest`, with every try. A level holds if the majority of its
repeats hold; a level that is neither (unknown) ends the search as inconclusive. Nothing is assumed beyond what was
tried: the answer is "holds at X, breaks at Y".
"""

from __future__ import annotations

from collections.abc import Callable

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, Verdict, failed, inconclusive, passed


class Try(Record):
    """One level and what its repeats said."""

    level: float
    outcomes: tuple[Outcome, ...]

    @property
    def holds(self) -> bool | None:
        """None where too many are neither."""
        good = sum(o.verdict is Verdict.PASS for o in self.outcomes)
        bad = sum(o.verdict is Verdict.FAIL for o in self.outcomes)
        if good * 2 > len(self.outcomes):
            return True
        return False if bad * 2 > len(self.outcomes) else None


class Highest(Record):
    """`holds_at` None: not even the lowest. `breaks_at` None: not even the highest broke. `reason` for inconclusive."""

    holds_at: float | None
    breaks_at: float | None
    tries: tuple[Try, ...]
    reason: str = ""


def highest(
    measure: Callable[[float], Outcome],
    *,
    low: float,
    high: float,
    repeats: int = 3,
    whole: bool,
    within: float = 0.05,
    rounds: int = 12,
) -> Highest:
    """Bisect between `low` and `high`. `whole`: levels are whole numbers (concurrency); else down to `within` of it."""
    if not 0 < low < high or repeats < 1:
        raise UsageError("the search needs 0 < low < high and at least one repeat", mend="Mend --low and --high.")
    tries: list[Try] = []

    def at(level: float) -> bool | None:
        outcomes: list[Outcome] = []
        for _ in range(repeats):
            outcomes.append(measure(level))
            # A majority is settled: the rest would not change it.
            seen = Try(level=level, outcomes=tuple(outcomes))
            good = sum(o.verdict is Verdict.PASS for o in outcomes)
            bad = sum(o.verdict is Verdict.FAIL for o in outcomes)
            if max(good, bad) * 2 > repeats:
                break
        tries.append(seen)
        return seen.holds

    first = at(low)
    if first is not True:
        reason = "the lowest level is neither held nor broken" if first is None else ""
        return Highest(holds_at=None, breaks_at=low if first is False else None, tries=tuple(tries), reason=reason)
    last = at(high)
    if last is not False:
        reason = "the highest level is neither held nor broken" if last is None else ""
        held = high if last else low
        return Highest(holds_at=held, breaks_at=None, tries=tuple(tries), reason=reason)
    for _ in range(rounds):
        if (whole and high - low <= 1) or (not whole and high - low <= within * low):
            break
        middle = float(int((low + high) // 2)) if whole else (low + high) / 2
        held_here = at(middle)
        if held_here is None:
            why = f"level {middle:g} is neither held nor broken: {tries[-1].outcomes[-1].reason}"
            return Highest(holds_at=low, breaks_at=high, tries=tuple(tries), reason=why)
        low, high = (middle, high) if held_here else (low, middle)
    return Highest(holds_at=low, breaks_at=high, tries=tuple(tries))


def outcome_of(found: Highest, by: str) -> Outcome:
    """Passed if some level holds; failed if not even the lowest does; else inconclusive."""
    if found.reason:
        return inconclusive(found.reason)
    return passed(told(found, by)) if found.holds_at is not None else failed(told(found, by))


def told(found: Highest, by: str) -> str:
    """One line: where it holds and where it breaks."""
    holds = "nowhere" if found.holds_at is None else f"at {by} {found.holds_at:g}"
    breaks = "nowhere that was tried" if found.breaks_at is None else f"at {found.breaks_at:g}"
    return f"holds {holds}, breaks {breaks} ({len(found.tries)} levels tried) {found.reason}".rstrip()
