"""A score counted again from the answers that lie beside it: whoever reads it need not believe its arithmetic.

In: the documents of an accuracy run. Out: what does not agree, and what could not be counted again; both empty if
every figure follows from the answers. An answer is judged again where the rule is ours and known; a pattern that came
with the evidence is not run here (it could be made to never end): there the taken answer must stand in the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from seatrial.core.record import Record
from seatrial.measure.accuracy.dataset import extract, fingerprint, same
from seatrial.measure.accuracy.prompts_l2 import L2
from seatrial.measure.accuracy.records import AccuracyScore, DatasetConfig, Prediction, Score

# Metrics that are the mean over the questions, by lm-eval 0.4's and evalscope 1.x's own definitions. Others (BLEU,
# F1 of a whole set, perplexity) need the tool.
MEANS = ("acc", "accuracy", "acc_norm", "exact_match", "em", "mean_acc")
CLOSE = 1e-6


class Recount(Record):
    """`wrong`: contradictions. `left`: figures that this cannot derive again, each with the reason."""

    wrong: tuple[str, ...]
    left: tuple[str, ...] = ()


def recount(
    score: Score, predictions: Sequence[Prediction], dataset: DatasetConfig | None, failed: Sequence[Prediction] | None
) -> Recount:
    """`failed`: the rows of failed_cases.jsonl, None where that file is not there."""
    left: list[str] = []
    wrong = [*_counts(score, predictions), *_asked(score, predictions, dataset)]
    if failed is not None and tuple(failed) != tuple(p for p in predictions if not p.correct):
        wrong.append("failed_cases.jsonl does not hold exactly the answers that are not correct")
    own = all(s.tool == "seatrial" for s in score.scores)
    for row in predictions:
        wrong += _judged(row, score, dataset, own=own)
    for figure in score.scores:
        wrong += _figure(figure, score, predictions, left)
    return Recount(wrong=tuple(wrong), left=tuple(left))


def _counts(score: Score, rows: Sequence[Prediction]) -> Iterator[str]:
    wanted = {
        "num_total": len(rows),
        "num_correct": sum(r.correct for r in rows),
        "num_not_extracted": sum(r.status == "not-extracted" for r in rows),
        "num_no_answer": sum(r.status == "no-answer" for r in rows),
    }
    for name, count in wanted.items():
        if getattr(score, name) != count:
            yield f"{name} is {getattr(score, name)}, the answers come to {count}"
    for part in score.subsets:
        mine = [r for r in rows if (r.subset or "(all)") == part.name]
        right = sum(r.correct for r in mine)
        if (part.total, part.correct) != (len(mine), right):
            yield f"subset {part.name}: {part.correct} of {part.total}, the answers come to {right} of {len(mine)}"
        elif part.score is not None and mine and not _close(part.score, right / len(mine)):
            yield f"subset {part.name}: the score {part.score} is not {right} of {len(mine)}"


def _asked(score: Score, rows: Sequence[Prediction], dataset: DatasetConfig | None) -> Iterator[str]:
    """What was asked is what was to be asked."""
    complete = any(s.complete for s in score.scores)
    lost = sum(r.status == "no-answer" for r in rows)
    if complete and lost:
        yield f"it is called complete, and {lost} question(s) have no answer"
    if dataset is None:
        return
    if dataset.asked is not None and dataset.asked != len(rows):
        yield f"{dataset.asked} questions were to be asked, {len(rows)} have a result"
    if dataset.questions_sha256:
        pairs = list(dict.fromkeys((r.id, r.prompt) for r in rows))
        if fingerprint(pairs) != dataset.questions_sha256:
            yield "the questions are not those whose hash is in dataset_config.json"
    for figure in score.scores:
        if figure.limit != dataset.limit:
            yield f"{figure.metric}: the limit is {figure.limit}, dataset_config.json says {dataset.limit}"
        whole = dataset.total if figure.task == dataset.name else None
        # Older documents count every answer to a question.
        asked = min(figure.n, len({r.id for r in rows}))
        if figure.conclusive and whole is not None and asked < whole:
            yield f"{figure.metric}: {asked} questions of {whole} are no whole task"


def _judged(row: Prediction, score: Score, dataset: DatasetConfig | None, *, own: bool) -> Iterator[str]:
    """One answer, judged again."""
    place = f"answer {row.id!r}"
    if row.status == "no-answer":
        return
    if not row.text.strip() and score.level not in ("L0",):
        yield f"{place} is {row.status}, and there is no text"
        return
    if score.level == "L2":
        case = next((c for c in L2 if c.name == row.id and c.prompt == row.prompt), None)
        if case is not None and row.correct and case.holds(row.text, row.finish_reason):
            yield f"{place} is called correct: {case.holds(row.text, row.finish_reason)}"
    elif score.scores and own:
        pattern = dataset.answer_pattern if dataset is not None else ""
        taken = row.extracted if pattern else extract(row.text, row.expected)
        if pattern and taken is not None and taken not in row.text:
            yield f"{place}: the taken answer {taken[:40]!r} is not in the text"
        wanted = "not-extracted" if taken is None else "correct" if same(taken, row.expected) else "wrong"
        if taken != row.extracted or row.status != wanted:
            yield f"{place} is {row.status}, its text makes it {wanted}"
    elif row.metrics and row.correct and not any(v >= 1.0 for v in row.metrics.values()):
        yield f"{place} is called correct, its own metrics say otherwise"


def _figure(figure: AccuracyScore, score: Score, rows: Sequence[Prediction], left: list[str]) -> Iterator[str]:
    what = f"{figure.task} {figure.metric}"
    if figure.run_id != score.run_id or figure.level != score.level:
        yield f"{what}: it is of another run or level than its document"
    if figure.tool == "seatrial":
        behind = [Judged(id=r.id, value=float(r.correct)) for r in rows if r.status != "no-answer"]
    else:
        bare = figure.metric.split(",", 1)[0]
        behind = _values(figure, bare, rows)
        if bare not in MEANS or not behind:
            left.append(f"{what}: only {figure.tool} can compute it again")
            return
    # Without a count of answers every one is a question: each was asked once, or the document is an older one.
    told = figure.n if figure.answers is None else figure.answers
    if figure.tool == "aisbench" and not figure.complete and len(behind) < told:
        # Without its --dump-eval-details only the requests that failed have a row.
        left.append(f"{what}: {len(behind)} of {told} judged answers are kept")
        right, unseen = math.fsum(j.value for j in behind), told - len(behind)
        if not right / told - CLOSE <= figure.value <= (right + unseen) / told + CLOSE:
            yield f"{what} is {figure.value}, and {len(behind)} of its {told} answers have {right:g} right"
        return
    value = math.fsum(j.value for j in behind) / len(behind) if behind else None
    if value is None or not _close(value, figure.value):
        yield f"{what} is {figure.value}, the answers come to {value}"
    if told != len(behind):
        yield f"{what}: {figure.answers or figure.n} answers, {len(behind)} are behind it"
    elif figure.answers is not None and figure.n != len({j.id for j in behind}):
        yield f"{what}: {figure.n} questions, the answers are to {len({j.id for j in behind})}"


class Judged(Record):
    """One answer's value of a metric."""

    id: str
    value: float


def _values(figure: AccuracyScore, metric: str, rows: Sequence[Prediction]) -> list[Judged]:
    """The metric's value of each answer. lm-eval: those of the task and the filter that the metric's name ends with."""
    if figure.tool == "aisbench":
        mine = [r for r in rows if r.subset == figure.task] if metric == "accuracy" else []
        return [Judged(id=r.id, value=float(r.correct)) for r in mine]
    if figure.tool != "lm-eval":
        return [Judged(id=r.id, value=r.metrics[metric]) for r in rows if metric in r.metrics]
    kind = figure.metric.partition(",")[2]
    mine = [r for r in rows if r.subset == figure.task and metric in r.metrics]
    ends = [r for r in mine if r.id.endswith(f"/{kind}")] if kind not in ("", "none") else []
    named = ends or [r for r in mine if r.id.count("/") == 1]
    return [Judged(id=r.id, value=r.metrics[metric]) for r in named]


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
