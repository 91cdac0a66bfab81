"""lm-eval's samples of one task as predictions: a question once, right or wrong by one metric.

In: the lines of `samples_TASK_*.jsonl`, and the metrics that its figures name (early versions do not list them
in the lines). Out: `Samples`. lm-eval writes a line for each filter (`strict-match`, `flexible-extract`): they are one
question, judged as the first of them says, since two answers to the same question are no two questions to a test.
A metric that judges no single answer (BLEU, a perplexity) makes none of them wrong: they are named as unjudged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatrial.core.record import Record
from seatrial.measure.accuracy.records import Prediction, Status
from seatrial.measure.accuracy.tool_files import number

# Of several metrics the first of these decides; each is 1 for a right answer.
DECIDING = ("exact_match", "acc", "em", "acc_norm", "f1")


class Samples(Record):
    """`unjudged` says how many answers no metric judges, and which there are; "" if there are none.

    `temperature`: the highest that a request was made with; None where none says.
    """

    predictions: tuple[Prediction, ...]
    unjudged: str = ""
    temperature: float | None = None


def read_samples(rows: Sequence[dict[str, Any]], task: str, named: Sequence[str] = ()) -> Samples:
    """In order of appearance. `named`: the task's metrics where the lines do not list theirs."""
    listed = [_listed(row, named) for row in rows]
    names = list(dict.fromkeys(m for names in listed for m in names))
    deciding = _deciding(rows, names)
    found: dict[str, Prediction] = {}
    first: dict[str, str] = {}
    unjudged: set[str] = set()
    for row, metrics in zip(rows, listed, strict=True):
        filter_, doc = str(row.get("filter") or "none"), str(row.get("doc_id"))
        values = {m: float(row[m]) for m in metrics if number(row.get(m)) or isinstance(row.get(m), bool)}
        if doc not in first:
            first[doc] = filter_
            made = _prediction(row, task, filter_, deciding, values)
            if made.status != "no-answer" and deciding not in values:
                unjudged.add(doc)
            else:
                found[doc] = made
        elif doc in found and filter_ != first[doc]:
            found[doc].metrics.update({f"{m},{filter_}": v for m, v in values.items()})
    words = ""
    if unjudged:
        words = f"{len(unjudged)} answers of {task} are kept, none of its metrics ({', '.join(names) or 'none listed'})"
        words += " says of a single one whether it is right"
    heat = [t for row in rows if (t := _temperature(row.get("arguments"))) is not None]
    return Samples(predictions=tuple(found.values()), unjudged=words, temperature=max(heat, default=None))


def _temperature(arguments: Any) -> float | None:
    """Of the request that was made: what the task and `--gen_kwargs` say together."""
    first = next(iter(arguments.values()), None) if isinstance(arguments, dict) else None
    settings = first.get("arg_1") if isinstance(first, dict) else None
    value = settings.get("temperature") if isinstance(settings, dict) else None
    return float(value) if isinstance(value, (int, float)) and number(value) and value >= 0 else None


def _listed(row: dict[str, Any], named: Sequence[str]) -> list[str]:
    given = row.get("metrics")
    return [str(m) for m in given] if isinstance(given, list) else [m for m in named if m in row]


def _deciding(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The metric that says which answers are right; "" if none does."""

    def values(name: str) -> list[Any]:
        return [row[name] for row in rows if name in row]

    known = [m for m in DECIDING if m in names and all(number(v) or isinstance(v, bool) for v in values(m))]
    # Any other metric counts if it says nothing but yes and no.
    plain = [
        m for m in names if values(m) and all(isinstance(v, (bool, int, float)) and v in (0, 1) for v in values(m))
    ]
    return next(iter([*known, *plain]), "")


def _prediction(row: dict[str, Any], task: str, filter_: str, deciding: str, values: dict[str, float]) -> Prediction:
    text = _first(row.get("resps"))
    taken = _first(row.get("filtered_resps"))
    right = values.get(deciding, 0.0) >= 1.0
    status: Status = "correct" if right else "wrong"
    if not text.strip():
        status = "no-answer"
    elif not right and taken in ("", "[invalid]"):
        status = "not-extracted"
    return Prediction(
        id=f"{task}/{row.get('doc_id')}" + ("" if filter_ == "none" else f"/{filter_}"),
        prompt=_prompt(row.get("arguments")),
        expected=str(row.get("target", "")),
        text=text,
        extracted=None if status in ("no-answer", "not-extracted") else taken,
        status=status,
        subset=task,
        trouble="the answer is empty" if status == "no-answer" else "",
        metrics=values,
    )


def _first(value: Any) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    return "" if value is None or isinstance(value, list) else str(value)


def _prompt(arguments: Any) -> str:
    if isinstance(arguments, dict):
        arguments = next((v for v in arguments.values()), "")
    if isinstance(arguments, dict):
        return str(arguments.get("arg_0", ""))
    return _first(arguments)
