"""Two runs over the same questions: McNemar's exact test, subsets, stable bad cases, what kind of failure each is.

In: two `AccuracyRun`s. Out: a `StepResult` with `ComparisonFacts`. Refuses (UsageError): runs without a question in
common, or with different prompts under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import comb
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.measure.accuracy.records import Prediction
from seatrial.measure.accuracy.run import AccuracyRun

ALPHA = 0.05
UNSAID = ("temperature", "chat_template")  # None is unknown there; of the others it is the server's default


class McNemar(Record):
    """`lost`: right in the first run only; `won`: right in the second only. `p`: exact, two-sided."""

    both_right: int
    both_wrong: int
    lost: int
    won: int
    p: float


class Changed(Record):
    """A question whose outcome changed; as `index: first -> second` in the field's tables."""

    id: str
    subset: str
    first: str
    second: str
    how: Literal["lost", "won"]
    kind: str


class SubsetChange(Record):
    name: str
    questions: int
    first: float
    second: float
    p: float


class ComparisonFacts(Record):
    """`stable_bad`: wrong in every answered repeat of the second run. `differences`: settings that are not the same.
    The scores are None where no question has an answer in both.
    """

    questions: int
    only_first: int
    only_second: int
    first_score: float | None
    second_score: float | None
    test: McNemar
    subsets: tuple[SubsetChange, ...]
    changed: tuple[Changed, ...]
    stable_bad: tuple[str, ...]
    unstable: tuple[str, ...]
    not_extracted: tuple[int, int]
    no_answer: tuple[int, int]
    differences: tuple[str, ...]


def mcnemar(pairs: Sequence[tuple[bool, bool]]) -> McNemar:
    """Exact two-sided test on pairs (first right, second right): the discordant ones are binomial with p = 1/2.

    Source: McNemar (1947) in its exact form; p = min(1, 2 * sum over k <= min(b, c) of C(b + c, k) / 2 ** (b + c)).
    """
    lost = sum(a and not b for a, b in pairs)
    won = sum(b and not a for a, b in pairs)
    n, least = lost + won, min(lost, won)
    p = min(1.0, 2 * sum(comb(n, k) for k in range(least + 1)) / 2**n) if n else 1.0
    right = sum(a and b for a, b in pairs)
    return McNemar(both_right=right, both_wrong=len(pairs) - right - n, lost=lost, won=won, p=p)


def compare(first: AccuracyRun, second: AccuracyRun, *, alpha: float = ALPHA) -> StepResult:
    """Is the second run worse than the first on the questions both answered?"""
    one, two = _by_id(first.predictions), _by_id(second.predictions)
    common = [i for i in one if i in two]
    if not common:
        raise UsageError("the two runs have no question in common", mend="Compare runs over the same data set.")
    other = [i for i in common if one[i][0].prompt != two[i][0].prompt]
    same_set = first.dataset.questions_sha256 and first.dataset.questions_sha256 == second.dataset.questions_sha256
    if other and not same_set and len(other) > len(common) / 2:
        raise UsageError(
            f"{len(other)} of {len(common)} questions have the same id and other words (first: {other[0]})",
            mend="The data set or its template differs: compare runs over the same one.",
        )
    # A question without an answer on one side says nothing about the model, and other words are another question.
    unlike = set() if same_set else set(other)
    judged = [i for i in common if i not in unlike and _answered(one[i]) and _answered(two[i])]
    pairs = [(_right(one[i]), _right(two[i])) for i in judged]
    test = mcnemar(pairs)
    differences = (*_differences(first, second), *([f"{len(other)} prompts differ"] if other else []))
    stable, unstable = _stability(two)
    facts = ComparisonFacts(
        questions=len(judged),
        only_first=len([i for i in one if i not in two]),
        only_second=len([i for i in two if i not in one]),
        first_score=_share([a for a, _ in pairs]),
        second_score=_share([b for _, b in pairs]),
        test=test,
        subsets=_subsets(one, two, judged),
        changed=tuple(_changed(i, one[i], two[i], lost=a) for i, (a, b) in zip(judged, pairs, strict=True) if a != b),
        stable_bad=stable,
        unstable=unstable,
        not_extracted=(first.score.num_not_extracted, second.score.num_not_extracted),
        no_answer=(first.score.num_no_answer, second.score.num_no_answer),
        differences=differences,
    )
    return _conclude(facts, first, second, alpha, len(unlike))


def fewest(alpha: float) -> int:
    """The discordant pairs below which not even all of them lost is significant: 2 / 2**n < alpha; 6 for 5 %."""
    return next(n for n in count(1) if 2.0 ** (1 - n) < alpha)


def _conclude(facts: ComparisonFacts, first: AccuracyRun, second: AccuracyRun, alpha: float, unlike: int) -> StepResult:
    test, least = facts.test, fewest(alpha)
    summary = (
        f"{facts.questions} questions: {_percent(facts.first_score)} -> {_percent(facts.second_score)}, "
        f"{test.lost} lost, {test.won} won, McNemar p = {test.p:.3g}"
    )
    found = [
        Finding(code="A301", severity=Severity.WARNING, place="settings", message=text, next_step="Run both alike.")
        for text in facts.differences
    ]
    extraction = sum(c.how == "lost" and c.kind == "extraction" for c in facts.changed)
    if extraction:
        message = f"{extraction} of the {test.lost} lost questions were answered, but no answer could be taken out"
        found.append(
            Finding(
                code="A302",
                severity=Severity.WARNING,
                place="extraction",
                message=message,
                next_step="Look at raw_predictions.jsonl: the format or the template changed, perhaps not the model.",
            )
        )
    partial = [run.score for run in (first, second) if run.score.status == "partial"]
    if not facts.questions:
        outcome = inconclusive("no question has an answer in both runs")
    elif test.p < alpha and test.lost > test.won:
        outcome = failed(f"the second run is worse: {summary}")
    elif partial or facts.only_first or facts.only_second:
        missing = facts.only_first + facts.only_second
        reason = partial[0].reason if partial else f"{missing} questions are in one run only"
        outcome = inconclusive(f"partial: {reason}")
    elif unlike:
        outcome = inconclusive(f"{unlike} questions have other words: {summary}")
    elif facts.questions < least:
        outcome = inconclusive(
            f"{facts.questions} questions, and under {least} not even losing all could show: {summary}"
        )
    elif test.lost + test.won < least and test.lost > test.won:
        outcome = inconclusive(f"too few changed answers to tell: {summary}")
    elif test.both_wrong == facts.questions:
        outcome = inconclusive(f"no question is right in either run: {summary}")
    else:
        outcome = passed()
    return StepResult(step="compare", outcome=outcome, summary=summary, facts=facts, findings=tuple(found))


def _by_id(rows: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row)
    return found


def _answered(rows: Sequence[Prediction]) -> bool:
    return any(r.status != "no-answer" for r in rows)


def _right(rows: Sequence[Prediction]) -> bool:
    """By the majority of the repeats that have an answer; a draw is wrong."""
    answered = [r for r in rows if r.status != "no-answer"]
    return 2 * sum(r.correct for r in answered) > len(answered)


def _typical(rows: Sequence[Prediction], *, right: bool) -> Prediction:
    return next((r for r in rows if r.status != "no-answer" and r.correct == right), rows[0])


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _stability(rows: dict[str, list[Prediction]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # A repeat without an answer is neither right nor wrong.
    answered = {i: [r.correct for r in p if r.status != "no-answer"] for i, p in rows.items()}
    repeated = {i: seen for i, seen in answered.items() if len(seen) > 1}
    stable = tuple(i for i, seen in repeated.items() if not any(seen))
    return stable, tuple(i for i, seen in repeated.items() if any(seen) and not all(seen))


def _subsets(
    one: dict[str, list[Prediction]], two: dict[str, list[Prediction]], judged: Sequence[str]
) -> tuple[SubsetChange, ...]:
    rows = []
    for name in sorted({one[i][0].subset for i in judged}):
        pairs = [(_right(one[i]), _right(two[i])) for i in judged if one[i][0].subset == name]
        rows.append(
            SubsetChange(
                name=name or "(all)",
                questions=len(pairs),
                first=sum(a for a, _ in pairs) / len(pairs),
                second=sum(b for _, b in pairs) / len(pairs),
                p=mcnemar(pairs).p,
            )
        )
    return tuple(rows)


def _changed(identity: str, one: Sequence[Prediction], two: Sequence[Prediction], *, lost: bool) -> Changed:
    """Of repeats, the first answer that is as their majority has it."""
    a, b = _typical(one, right=lost), _typical(two, right=not lost)
    bad = b if lost else a
    kind = {"not-extracted": "extraction", "no-answer": "no answer"}.get(bad.status, "answer")
    if kind == "answer" and bad.finish_reason == "length":
        kind = "cut"
    return Changed(
        id=identity,
        subset=a.subset,
        first=a.extracted or f"({a.status})",
        second=b.extracted or f"({b.status})",
        how="lost" if lost else "won",
        kind=kind,
    )


def _differences(first: AccuracyRun, second: AccuracyRun) -> tuple[str, ...]:
    """Settings of requests, template and extraction that are not the same, or that neither run knows."""
    names = ("temperature", "top_p", "top_k", "max_tokens", "seed", "chat_template", "num_fewshot", "extra_body")
    pairs = [(n, getattr(first.request, n), getattr(second.request, n)) for n in names]
    pairs += [(n, getattr(first.dataset, n), getattr(second.dataset, n)) for n in ("template", "answer_pattern")]
    unlike = [f"{n} is {_said(n, a)} in the first run, {_said(n, b)} in the second" for n, a, b in pairs if a != b]
    return (*unlike, *(f"{n} is unknown in both runs" for n, a, b in pairs if n in UNSAID and a is b is None))


def _said(name: str, value: object) -> str:
    return "unknown" if value is None and name in UNSAID else repr(value)
