"""Bisect: the first bad commit or version, by a command of the user's that says 0 good, 1 bad, anything else: cannot
say.

In: candidates in order, the first known good, the last known bad. Out: a `StepResult` with `BisectFacts`. Only exit
code 1 is bad: 125, a signal, a time-out, seatrial's own 2 to 4 (usage, inconclusive, environment) are skipped, and so
is a candidate whose work tree or environment cannot be made: a service that does not start is never taken for the
fault. Each step runs the command afresh, `repeats` times where it samples. What was tried can be kept and given back as
`known`. Refuses (UsageError): fewer than two candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from seatrial.core.errors import SeatrialError, UsageError
from seatrial.core.record import Record, replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive

Judgement = Literal["good", "bad", "skip"]


class Trial(Record):
    """One candidate, the exit codes of its repeats (None: time-out), and what follows from them.

    `earlier`: it was tried by the run that this one goes on with.
    """

    candidate: str
    codes: tuple[int | None, ...]
    judgement: Judgement
    reason: str
    earlier: bool = False


class BisectFacts(Record):
    """`first_bad` is sure if `suspects` (candidates that could not be judged just before it) is empty."""

    candidates: int
    trials: tuple[Trial, ...]
    first_bad: str
    last_good: str
    suspects: tuple[str, ...]


def judge(candidate: str, codes: Sequence[int | None]) -> Trial:
    """From the exit codes of the repeats: more than half of all must say the same; those that cannot say count too."""
    bad, good = sum(c == 1 for c in codes), sum(c == 0 for c in codes)
    verdict: Judgement
    if bad * 2 > len(codes):
        verdict, reason = "bad", f"{bad} of {len(codes)} runs are bad"
    elif good * 2 > len(codes):
        verdict, reason = "good", f"{good} of {len(codes)} runs are good"
    elif bad or good:
        verdict, reason = "skip", f"of {len(codes)} runs {bad} are bad, {good} good: more repeats are needed"
    else:
        odd = next(iter(codes), None)
        verdict, reason = "skip", "time-out" if odd is None else f"exit code {odd} is neither good nor bad"
    return Trial(candidate=candidate, codes=tuple(codes), judgement=verdict, reason=reason)


def bisect(
    candidates: Sequence[str],
    run: Callable[[str], int | None],
    *,
    repeats: int = 1,
    known: Iterable[Trial] = (),
    seen: Callable[[Trial], None] = lambda trial: None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """`candidates[0]` is claimed good, the last bad; both are tried first. `run` gives an exit code or None.

    A SeatrialError of `run` is the environment's failure. `known` trials are not made again, unless they could not say;
    `seen` gets each new one as it comes.
    """
    if len(candidates) < 2:
        raise UsageError("there are fewer than two candidates", mend="--good must come before --bad.")
    trials: dict[int, Trial] = {}
    # What a kept trial says must follow from its codes, one for each repeat.
    held = [t for t in known if len(t.codes) == repeats and t.judgement == judge(t.candidate, t.codes).judgement]
    sure = {t.candidate: replace(t, earlier=True) for t in held if t.judgement != "skip"}

    def look(number: int) -> Judgement:
        name = candidates[number]
        if number not in trials and name in sure:
            trials[number] = sure[name]
            say(f"{name}: {sure[name].judgement}, tried before")
        elif number not in trials:
            say(f"trying {name} ({len(trials) + 1} tried)")
            try:
                trials[number] = judge(name, [run(name) for _ in range(repeats)])
            except SeatrialError as exc:
                trials[number] = Trial(candidate=name, codes=(), judgement="skip", reason=exc.one_line())
            seen(trials[number])
            say(f"{name}: {trials[number].judgement}, {trials[number].reason}")
        return trials[number].judgement

    low, high = 0, len(candidates) - 1
    ends = (("good", low), ("bad", high))
    for wanted, number in ends:
        if look(number) != wanted:
            trial = trials[number]
            reason = f"{trial.candidate} was given as {wanted}, but is not: {trial.reason}"
            return _result(candidates, trials, None, None, inconclusive(reason))
    while True:
        open_ = [n for n in range(low + 1, high) if n not in trials or trials[n].judgement != "skip"]
        if not open_:
            break
        middle = min(open_, key=lambda n: abs(n - (low + high) / 2))
        found = look(middle)
        if found == "good":
            low = middle
        elif found == "bad":
            high = middle
    between = [candidates[n] for n in range(low + 1, high)]
    first = candidates[high]
    if between:
        reason = f"the first bad one is {first} or one of {len(between)} before it that could not be judged"
        return _result(candidates, trials, high, low, inconclusive(reason))
    return _result(candidates, trials, high, low, failed(f"the first bad one is {first}; {candidates[low]} is good"))


def _result(
    candidates: Sequence[str], trials: dict[int, Trial], high: int | None, low: int | None, outcome: Outcome
) -> StepResult:
    between: tuple[str, ...] = ()
    if low is not None and high is not None:
        between = tuple(candidates[low + 1 : high])
    facts = BisectFacts(
        candidates=len(candidates),
        trials=tuple(trials.values()),
        first_bad=candidates[high] if high is not None else "",
        last_good=candidates[low] if low is not None else "",
        suspects=between,
    )
    return StepResult(step="bisect", outcome=outcome, summary=outcome.reason, facts=facts)
