"""What AISBench leaves: `results/MODEL/DATASET.json` with the figures, and beside them every answer.

In: the folder of one run (`outputs/default/TIME`). Out: a `ToolOutput`. Since its rewrite of December 2025 (read in its
source) answers are lines of `predictions/MODEL/DATASET.jsonl`, requests that failed lines of
`DATASET_failed.jsonl`; before, as in OpenCompass, one object in `DATASET.json`. Which are right is kept only with
`--dump-eval-details` (in lists of one); without it nobody can look behind the figure, and the result is partial. So it
is where every question was asked several times: `details` are then questions, whose answers cannot be told apart.
Whether all questions were asked is in its configs (`aisbench_config.py`), and where they are not there it is unknown.
AISBench counts a failed request as a wrong answer: here it has no answer, and makes the result partial. Its figures are
percentages; here they become fractions. A data set paired with the wrong model API gives zeros without an error
(AISBench issue 125): a score of 0 with only empty answers is reported as no answer, never as 0. Refuses
(FileFormatError): no `results` folder, or one of several models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.measure.accuracy.aisbench_config import read_asked
from seatrial.measure.accuracy.outside import Figure, ToolOutput
from seatrial.measure.accuracy.records import Prediction, Status
from seatrial.measure.accuracy.tool_files import lines, load, not_finite, number, one_model

# Numbers beside the figures that are no percentage of right answers.
NO_SCORES = ("extract_rate", "correct_bpb", "incorrect_bpb")


def read_aisbench(folder: Path) -> ToolOutput:
    """All data sets of the run; subsets are the files' names."""
    files = sorted((folder / "results").glob("*/*.json"))
    if not files:
        raise FileFormatError(f"{folder} has no results/MODEL/DATASET.json", mend="Name outputs/default/TIME.")
    one_model(files)
    settings = read_asked(folder, files[0].parent.name)
    cut: list[str] = []
    predictions: list[Prediction] = []
    figures: list[Figure] = []
    missing: list[str] = []
    dropped: list[str] = []
    for file in files:
        document = load(file)
        answers = _answers(folder / "predictions" / file.parent.name, file.stem)
        details = document.get("details")
        judged = (
            {k: _unwrapped(v) for k, v in details.items() if isinstance(v, dict)} if isinstance(details, dict) else {}
        )
        unjudged = [
            k for k in {**answers, **judged} if _text(k, judged, answers).strip() and "correct" not in judged.get(k, {})
        ]
        # Of questions that were asked several times each has several answers, and one id.
        asked = len({str(answers.get(k, {}).get("id", k)) for k in {**answers, **judged}})
        cut += [why] if (why := settings.cut(file.stem, asked)) else []
        rows = [_row(file.stem, k, judged, answers) for k in _ordered({**answers, **judged}) if k not in unjudged]
        predictions += rows
        if not rows and not unjudged:
            missing.append(f"{file.stem}: no answer is kept beside the figures")
            continue
        several = asked < len(answers)
        if unjudged:
            why = "which of them are right is not (run AISBench with --dump-eval-details)"
            if several:
                why = "several to a question, and AISBench keeps no judgement of a single one then"
            missing.append(f"{file.stem}: {len(unjudged)} answers are kept, {why}")
        elif all(r.status == "no-answer" for r in rows):
            continue
        for metric, value in document.items():
            if number(value) and metric not in NO_SCORES:
                each = len(answers) if several else None
                figures.append(Figure(task=file.stem, metric=metric, value=float(value) / 100.0, n=asked, answers=each))
            elif not_finite(value):
                dropped.append(f"{file.stem} {metric} is no finite number")
    return ToolOutput(
        tool="aisbench",
        version="unknown",
        task=files[0].stem if len(files) == 1 else folder.name,
        predictions=tuple(predictions),
        figures=tuple(figures),
        dropped=tuple(dropped),
        missing="; ".join(missing),
        cut="; ".join(cut),
        temperature=settings.temperature,
        chat=settings.chat,
    )


def _answers(folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Answers by the key that `details` has for them: their place in the order of ids, failed requests among them."""
    file = folder / f"{dataset}.jsonl"
    if not file.is_file():
        older = folder / f"{dataset}.json"
        found = load(older) if older.is_file() else {}
        return {k: v for k, v in found.items() if isinstance(v, dict)}
    rows = lines(file)
    known = {str(r.get("id")) for r in rows}
    failed = folder / f"{dataset}_failed.jsonl"
    lost: dict[str, dict[str, Any]] = {}
    for row in lines(failed) if failed.is_file() else []:
        if str(row.get("id")) not in known:
            # A question that failed twice is one question.
            lost[str(row.get("id"))] = {**row, "origin_prompt": row.get("input"), "prediction": ""}
    ordered = sorted([*rows, *lost.values()], key=lambda r: r["id"] if isinstance(r.get("id"), int) else 0)
    return {str(place): row for place, row in enumerate(ordered)}


def _ordered(keys: dict[str, Any]) -> list[str]:
    return sorted(keys, key=lambda k: (len(k), k))


def _text(key: str, judged: dict[str, Any], answers: dict[str, Any]) -> str:
    """The answer; for questions judged by perplexity, which have no text, the choice."""
    one, raw = judged.get(key, {}), answers.get(key, {})
    said = raw.get("prediction", one.get("origin_prediction", ""))
    return str((one.get("predictions") if isinstance(said, dict) else said) or "")


def _row(dataset: str, key: str, judged: dict[str, Any], answers: dict[str, Any]) -> Prediction:
    one, raw = judged.get(key, {}), answers.get(key, {})
    text = _text(key, judged, answers)
    taken = str(one.get("predictions", one.get("pred", "")) or "")
    status: Status = "correct" if _right(one.get("correct")) else "wrong"
    trouble = ""
    if not text.strip():
        status, trouble = "no-answer", str(raw.get("error_info") or "the answer is empty")[:300]
    elif status == "wrong" and not taken.strip():
        status = "not-extracted"
    return Prediction(
        id=f"{dataset}/{raw.get('id', key)}",
        prompt=_words(raw.get("origin_prompt", one.get("prompt", ""))),
        expected=str(raw.get("gold", one.get("references", ""))),
        text=text,
        extracted=taken if status in ("correct", "wrong") else None,
        status=status,
        subset=dataset,
        trouble=trouble,
    )


def _unwrapped(judged: dict[str, Any]) -> dict[str, Any]:
    """Judgement, extracted answer and expected one out of the lists that its evaluator puts them into."""
    kept = ("predictions", "references", "pred", "correct")
    return {k: v[0] if k in kept and isinstance(v, list) and len(v) == 1 else v for k, v in judged.items()}


def _words(prompt: Any) -> str:
    """The question as text; messages are `{"role", "prompt"}` one behind the other."""
    if not isinstance(prompt, list):
        return str(prompt if prompt is not None else "")
    parts = [m.get("prompt", m.get("content", "")) if isinstance(m, dict) else m for m in prompt]
    return "\n".join(str(p) for p in parts)


def _right(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_right(v) for v in value)
    return value is True or str(value).casefold() == "true"
