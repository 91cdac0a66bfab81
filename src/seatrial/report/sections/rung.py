"""A rung of the accuracy ladder: what it may claim, scores, subsets, how it was asked; and the matrix of settings."""

from __future__ import annotations

from seatrial.report.blocks import Block, Cell, Column, Notice, Pair, Pairs, Table, Tone
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of
from seatrial.report.sections.common import attached, leftover, pair
from seatrial.report.words import count

UNKNOWN = "the tool does not say"


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    score, request, dataset = facts.child("score"), facts.child("request"), facts.child("dataset")
    level, claims = facts.text("level"), facts.text("claims")
    rows = score.objects("scores")
    found: list[Block] = []
    if not rows:
        text = score.text("reason") or "No score of a task or data set follows from it."
        found.append(Notice(tone="info", title=f"{level}: {claims}", text=text))
    else:
        score.take("reason")
    found += [_scores(rows)] if rows else []
    subsets = score.objects("subsets")
    if len(subsets) > 1:
        found.append(_subsets(subsets))
    correct, total = score.whole("num_correct"), score.whole("num_total")
    files = [attached(step.stored, n) for n in ("raw_predictions.jsonl", "failed_cases.jsonl", "score.json")]
    links = [f for f in files if f is not None]
    asked = [
        pair("answers", _correct(correct, total), "nobody counted them", note=_lost(score)),
        pair("may claim", claims or None),
        pair("questions", dataset.text("name") or None, "not recorded", note=dataset.text("source")),
        _asked(dataset),
        pair("server", facts.text("server") or None, note=f"version {facts.text('version')}"),
        pair("temperature", request.take("temperature"), UNKNOWN),
        pair("chat template", request.flag("chat_template"), UNKNOWN),
    ]
    if links:
        asked.append(Pair(label="files", value=Cell(text="", more=tuple(links))))
    for known in ("run_id", "level", "status", "schema_version"):
        score.take(known)
    request.take("schema_version")
    dataset.take("schema_version")
    found.append(Pairs(rows=tuple(asked)))
    return [*found, *leftover(facts)]


def _correct(correct: int | None, total: int | None) -> str | None:
    return None if correct is None or total is None else f"{count(correct)} of {count(total)} correct"


def _lost(score: Facts) -> str:
    not_extracted, none = score.whole("num_not_extracted"), score.whole("num_no_answer")
    known = ((not_extracted, "not extracted"), (none, "without an answer"))
    return ", ".join(f"{count(number)} {what}" for number, what in known if number is not None)


def _asked(dataset: Facts) -> Pair:
    """How many were asked, of how many; a tool that keeps a result for each filter or repeat has more results."""
    asked, total, limit = dataset.whole("asked"), dataset.whole("total"), dataset.whole("limit")
    limited = f", limited to the first {limit}" if limit is not None else ""
    if total is None:
        return pair("asked", asked, "not recorded", note=f"the size of the whole is unknown{limited}")
    most = min(total, limit) if limit is not None else total
    if asked is not None and 0 < most < asked:
        each = f", {asked // most} each" if asked % most == 0 else ""
        told = f"of {count(most)} questions{each}: one for every filter of the tool or repeat"
        return pair("results", asked, note=told + (f"; the whole has {count(total)}" if most < total else ""))
    return pair("asked", asked, "not recorded", note=f"of {count(total)}{limited}")


def _scores(rows: list[dict[str, object]]) -> Table:
    shown = []
    for row in rows[:MAX_ROWS]:
        one = Facts(row)
        value, stderr = one.number("value"), one.number("stderr")
        complete = one.flag("complete")
        answers = one.whole("answers")
        quoted = bool(complete) and one.text("level") in ("L4", "L5") and one.peek("limit") is None
        tone: Tone = "pass" if quoted else "inconclusive"
        why = one.text("partial_reason") or f"level {one.text('level')} is no whole task"
        shown.append(
            (
                Cell(text=one.text("task")),
                Cell(text=one.text("metric"), note="lower is better" if one.flag("higher_is_better") is False else ""),
                Cell(text="unknown" if value is None else f"{value:.4f}", note=f"± {stderr:.4f}" if stderr else ""),
                Cell(
                    text="unknown" if (asked := one.whole("n")) is None else count(asked),
                    note="" if answers is None else f"{count(answers)} answers",
                ),
                Cell(text="may be quoted" if quoted else "may not be quoted", note="" if quoted else why, tone=tone),
                Cell(text=one.text("tool"), note=one.text("tool_version")),
            )
        )
    titles = ("task", "metric", "value", "questions", "as the score of the task", "tool")
    columns = tuple(Column(title=t, is_number=t in ("value", "questions")) for t in titles)
    return Table(title="Scores", columns=columns, rows=tuple(shown), left_out=_more(len(rows)))


def _subsets(rows: list[dict[str, object]]) -> Table:
    shown = []
    for row in rows[:MAX_ROWS]:
        one = Facts(row)
        share = one.number("score")
        text = "unknown" if share is None else f"{100 * share:.1f} %"
        right = _correct(one.whole("correct"), one.whole("total"))
        said = "unknown" if right is None else right.removesuffix(" correct")
        shown.append((Cell(text=one.text("name")), Cell(text=said), Cell(text=text)))
    columns = (Column(title="subset"), Column(title="correct", is_number=True), Column(title="share", is_number=True))
    return Table(title="Subsets", columns=columns, rows=tuple(shown), left_out=_more(len(rows)))


def _more(number: int) -> str:
    return f"{count(number - MAX_ROWS)} more rows are in the facts file" if number > MAX_ROWS else ""


def matrix(step: StepFacts, run: Gathered) -> list[Block]:
    """`seatrial accuracy ab`: one row a setting, those of a kind that breaks under it."""
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("checkpoint")
    rows = []
    for cell in facts.objects("cells")[:MAX_ROWS]:
        rows.append(_cell(Facts(cell), ""))
        rows += [_cell(Facts(c), "milder: ") for c in Facts(cell).objects("milder")]
    titles = ("setting", "against the base", "equal answers", "largest difference of a log-probability", "class")
    columns = tuple(Column(title=t, is_number=t.startswith(("equal", "largest"))) for t in titles)
    return [Table(columns=columns, rows=tuple(rows)), *leftover(facts)]


def _cell(one: Facts, before: str) -> tuple[Cell, ...]:
    variant, agreement = one.child("variant"), one.child("agreement")
    state, smallest = one.text("state"), one.text("smallest")
    tones: dict[str, Tone] = {"agrees": "pass", "rounding": "pass", "differs": "warning"}
    tones |= {"breaks": "fail", "not-run": "inconclusive"}
    worst, equal = agreement.number("worst_logprob"), agreement.whole("equal")
    told = "; ".join(t for t in (one.text("reason"), f"smallest that breaks: {smallest}" if smallest else "") if t)
    return (
        Cell(text=before + variant.text("name"), note=variant.text("says")),
        Cell(text=state, note=told, tone=tones.get(state, "unknown")),
        Cell(text="–" if equal is None else f"{equal} of {agreement.whole('prompts')}"),
        Cell(text="–" if worst is None else f"{worst:.4f}"),
        Cell(text=variant.text("cause") if state == "breaks" else "–"),
    )
