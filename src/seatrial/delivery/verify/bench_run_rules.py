"""A bench as a whole: the look at a few answers, the comparison made again from its runs, the run's own verdict.

Findings Y219 (steps that are not those asked for), Y220 (verdicts) and Y221 (the comparison).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, errors
from seatrial.core.record import from_plain, to_plain
from seatrial.core.verdict import Verdict, combine
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.bench_rules import MEASURED, workload_of
from seatrial.delivery.verify.common import differing, error, note
from seatrial.evidence import StoredStep
from seatrial.gates.quality import Answer, look
from seatrial.measure.compare import BenchRun, Judged, interleaved, judge
from seatrial.measure.load.service import Smoke

VERDICT, SMOKE = "verdict", "accuracy-"
# Limits of a resampling by another version of numpy, whose dice may fall otherwise.
DRAWN, BY_DICE = 0.02, ("low", "high", "p")


def labels_of(view: EvidenceView) -> list[str]:
    sides = view.manifest.arguments.get("sides")
    return [str(s.get("label")) for s in sides if isinstance(s, dict)] if isinstance(sides, list) else []


def runs_of(view: EvidenceView, label: str) -> list[BenchRun]:
    """The measured runs of one side in their order; raises FileFormatError for facts that are none."""
    found = []
    for step in view.gathered.steps:
        number = step.removeprefix(f"{MEASURED}{label}-")
        if number != step and number.isdigit():
            found.append(from_plain(BenchRun, view.facts(step), where=f"facts of {step}"))
    return found


def smoke(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The kept texts looked at again; log-probabilities were not kept, so what they said is taken from the record."""
    step = stored.step
    facts = from_plain(Smoke, view.facts(step), where=f"facts of {step}")
    answers = [
        Answer(text=t, finish_reason="", completion_tokens=None, tokens=None, logprobs=None) for t in facts.texts
    ]
    again = [f for a in answers for f in errors(look(a, "real", step))]
    grave = bool(again or errors(facts.findings) or not facts.texts)
    if facts.passed and grave:
        what = again[0].message if again else "no text or an error is recorded"
        yield error("Y220", step, f"the answers are called readable: {what}")
    if (stored.outcome.verdict is Verdict.PASS) is not facts.passed:
        yield error("Y220", step, f"the verdict is {stored.outcome.verdict.value}, its facts say passed={facts.passed}")


def comparison(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The verdict of B against A, made again from every run: fairness, figures, answer."""
    facts = view.facts(stored.step)
    said = from_plain(Judged, facts, where=f"facts of {stored.step}")
    labels = labels_of(view)
    sides = [runs_of(view, label) for label in labels]
    if len(sides) != 2 or not all(sides):
        yield error("Y221", stored.step, "there are not two measured sides to compare")
        return
    under_test = view.manifest.arguments.get("under_test")
    again = judge(
        sides[0],
        sides[1],
        under_test=[str(n) for n in under_test] if isinstance(under_test, list) else [],
        judged_by=str(view.manifest.arguments.get("judged_by")),
        sla=workload_of(view).sla,
    )
    for place, one, two in differing(to_plain(said), to_plain(again)):
        if place.rpartition(".")[2] in BY_DICE and _drawn(place, said, again):
            yield note(stored.step, f"{place} is {one}, drawn again {two}: within what dice differ")
            continue
        yield error("Y221", stored.step, f"{place} is {one}, its runs come to {two}")
    if stored.outcome != said.outcome():
        yield error("Y221", stored.step, f"the verdict is {stored.outcome.verdict.value}, its answer is {said.answer}")
    if stored.summary != said.reason:
        yield error("Y221", stored.step, f"the summary {stored.summary!r} is not its reason {said.reason!r}")


def _drawn(place: str, said: Judged, again: Judged) -> bool:
    name, _, field = place.removeprefix("figures.").rpartition(".")
    one, two = said.figures.get(name), again.figures.get(name)
    if one is None or two is None or (field == "p" and two.exact):
        return False
    values = (getattr(one, field), getattr(two, field))
    return None not in values and abs(values[0] - values[1]) <= DRAWN


def whole(view: EvidenceView) -> Iterator[Finding]:
    """The steps are those that were asked for, in turn; the run's verdict is what they come to."""
    arguments, steps = view.manifest.arguments, view.gathered.steps
    labels, count = labels_of(view), arguments.get("runs")
    # One more than there can be is enough to see that some are missing, whatever a manifest asks for.
    count = min(count, len(steps) + 1) if isinstance(count, int) else 0
    if len(labels) not in (1, 2):
        yield error("Y219", view.run_id, f"the manifest names {len(labels)} sides: a bench has one or two")
        return
    order = [labels["AB".index(x)] for x in (interleaved(count) if len(labels) == 2 else "A" * count)]
    seen: dict[str, int] = {}
    wanted = []
    for label in order:
        seen[label] = seen.get(label, 0) + 1
        wanted.append(f"{MEASURED}{label}-{seen[label]}")
    have = [s for s in steps if s.startswith(MEASURED)]
    for number, (due, found) in enumerate(zip_longest(wanted, have), 1):
        if found is not None and due != found:
            yield error("Y219", found, f"it stands as measured run {number}, where {due or 'none'} was due")
            break
    finished = view.gathered.finished
    if not finished:
        yield note(view.run_id, f"the bench did not finish ({view.gathered.state}), so it has no verdict of its own")
        return
    broken = _broken(view)
    if len(have) < len(wanted) and not broken:
        yield error("Y219", view.run_id, f"{len(have)} of {len(wanted)} measured runs are kept, and none broke off")
    smoked = [f"{SMOKE}{label}" for label in dict.fromkeys(order) if arguments.get("smoke")]
    lost = [s for s in smoked if s not in steps and not broken]
    if lost:
        yield error("Y219", view.run_id, f"the look at a few answers is not kept: {', '.join(lost)}")
    is_judged = len(labels) == 2 and all(any(s.startswith(f"{MEASURED}{x}-") for s in have) for x in labels)
    if is_judged is not (VERDICT in steps):
        yield error("Y221", view.run_id, "the comparison is not there" if is_judged else "a comparison of nothing")
    verdicts = {s: k.stored.outcome.verdict for s, k in steps.items()}
    if VERDICT in steps:
        verdict = verdicts[VERDICT]
        verdict = Verdict.FAIL if any(verdicts.get(f"{SMOKE}{x}") is Verdict.FAIL for x in labels) else verdict
    else:
        verdict = combine(verdicts.values())
    verdict = Verdict.INCONCLUSIVE if broken and verdict is Verdict.PASS else verdict
    if finished.get("verdict") != verdict.value or finished.get("signed_off"):
        yield error(
            "Y212", "finished", f"the run's verdict is {finished.get('verdict')}, its steps come to {verdict.value}"
        )


def _broken(view: EvidenceView) -> str:
    """Why the bench ended early, by its own steps; empty if nothing in them says so."""
    for step, known in view.gathered.steps.items():
        if step.startswith(SMOKE) and known.stored.outcome.verdict is not Verdict.PASS:
            return known.stored.outcome.reason
        if step.startswith(MEASURED):
            try:
                bench = from_plain(BenchRun, view.facts(step), where=step)
            except FileFormatError:
                continue
            if bench.metrics.partial:
                return bench.metrics.partial
    return ""
