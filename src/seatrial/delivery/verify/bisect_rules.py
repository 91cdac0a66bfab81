"""A bisect: each trial from its exit codes, and the answer by the same search over the trials again.

Out: findings Y223. What the command did is not in the run: its exit codes are taken as recorded, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, to_plain
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error, loaded, note
from seatrial.evidence import StoredStep
from seatrial.measure.accuracy import bisect

TRIALS = "trials.jsonl"
CODES = {"good": 0, "bad": 1}
SKIPPED = 125
MOST_LOOKS = 10_000_000  # candidates times trials: what a search over them costs, whatever a record claims


def bisected(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """Each trial from its exit codes; the first bad one, the last good one and the suspects from the trials."""
    step = stored.step
    facts = from_plain(bisect.BisectFacts, view.facts(step), where=f"facts of {step}")
    kept = [loaded(line) for line in view.text(step, TRIALS).splitlines()]
    held = [(k.get("candidate"), k.get("codes")) for k in kept if isinstance(k, dict)]
    for trial in facts.trials:
        place = f"{step}: {trial.candidate}"
        again = bisect.judge(trial.candidate, trial.codes)
        # Without any code the environment failed, and the reason is its own.
        if again.judgement != trial.judgement or (trial.codes and again.reason != trial.reason):
            yield error("Y223", place, f"it is called {trial.judgement}, its exit codes make it {again.judgement}")
        if (trial.candidate, list(trial.codes)) not in held:
            yield error("Y223", place, f"{TRIALS} does not hold these exit codes of it")
    yield from _searched(stored, facts)
    yield note(step, "what the command did in a trial is only hash-checked: its exit codes are taken as recorded")


def _searched(stored: StoredStep, facts: bisect.BisectFacts) -> Iterator[Finding]:
    """The same search over as many candidates: it asks in the same order whenever it gets the same answers."""
    step, trials = stored.step, facts.trials
    if facts.candidates * len(trials) > MOST_LOOKS:
        yield note(step, f"a search over {facts.candidates} candidates is too long to be made again here")
        return
    if len({t.candidate for t in trials}) < len(trials):
        yield error("Y223", step, "one candidate was tried twice")
        return
    names: dict[str, str] = {}

    def once(number: str) -> int:
        if len(names) == len(trials):
            raise LookupError(f"the search goes on after its {len(trials)} trials")  # no failure of an environment
        trial = trials[len(names)]
        names[number] = trial.candidate
        return CODES.get(trial.judgement, SKIPPED)

    try:
        again = bisect.bisect([str(n) for n in range(facts.candidates)], once)
    except (UsageError, LookupError) as exc:
        yield error("Y223", step, f"its trials are not those of a search: {exc}")
        return
    found = from_plain(bisect.BisectFacts, to_plain(again.facts), where=step)
    if len(names) < len(trials):
        yield error("Y223", step, f"the search ends after {len(names)} of its {len(trials)} trials")
    said = (facts.first_bad, facts.last_good, facts.suspects)
    wanted = tuple(names.get(n, "") for n in (found.first_bad, found.last_good))
    if said != (*wanted, tuple(names.get(n, "") for n in found.suspects)):
        told = f"{wanted[0] or 'none'} is the first bad one, {wanted[1] or 'none'} the last good one"
        yield error("Y223", step, f"its trials come to another answer: {told}")
    if stored.outcome.verdict is not again.outcome.verdict:
        was, due = stored.outcome.verdict.value, again.outcome.verdict.value
        yield error("Y223", step, f"the verdict is {was}, its trials make it {due}")
