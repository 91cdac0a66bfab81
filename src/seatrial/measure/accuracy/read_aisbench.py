"""What AISBench leaves (its layout is OpenCompass's): `results/MODEL/DATASET.json` and
`predictions/MODEL/DATASET.json`.

In: the folder of one run (`outputs/default/TIME`). Out: a `ToolOutput`. Its accuracies are percentages; here they
become fractions. A data set paired with the wrong model API gives zeros without an error (AISBench issue 125): a score
of 0 with only empty answers is reported as no answer, never as 0. Refuses (FileFormatError): no `results` folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.measure.accuracy.outside import Figure, ToolOutput
from seatrial.measure.accuracy.read_lm_eval import load, number
from seatrial.measure.accuracy.records import Prediction, Status


def read_aisbench(folder: Path) -> ToolOutput:
    """All data sets of the run; subsets are the files' names."""
    files = sorted((folder / "results").glob("*/*.json"))
    if not files:
        raise FileFormatError(f"{folder} has no results/MODEL/DATASET.json", mend="Name outputs/default/TIME.")
    predictions: list[Prediction] = []
    figures: list[Figure] = []
    missing: list[str] = []
    for file in files:
        document = load(file)
        asked = folder / "predictions" / file.parent.name / file.name
        answers = load(asked) if asked.is_file() else {}
        rows = _rows(file.stem, document.get("details"), answers)
        predictions += rows
        if not rows:
            missing.append(f"{file.stem}: no answer is kept beside the figures")
            continue
        if all(r.status == "no-answer" for r in rows):
            continue
        for metric, value in document.items():
            if number(value):
                figures.append(Figure(task=file.stem, metric=metric, value=float(value) / 100.0, n=len(rows)))
    return ToolOutput(
        tool="aisbench",
        version="unknown",
        task=files[0].stem if len(files) == 1 else folder.name,
        predictions=tuple(predictions),
        figures=tuple(figures),
        missing="; ".join(missing),
    )


def _rows(dataset: str, details: Any, answers: dict[str, Any]) -> list[Prediction]:
    judged = details if isinstance(details, dict) else {}
    rows = []
    for key in sorted({*judged, *answers} - {"type"}, key=lambda k: (len(k), k)):
        one = judged.get(key) if isinstance(judged.get(key), dict) else {}
        raw = answers.get(key) if isinstance(answers.get(key), dict) else {}
        one, raw = one or {}, raw or {}
        text = str(raw.get("prediction", one.get("origin_prediction", "")) or "")
        taken = str(one.get("predictions", one.get("pred", "")) or "")
        status: Status = "correct" if _right(one.get("correct")) else "wrong"
        if not text.strip():
            status = "no-answer"
        elif status == "wrong" and not taken.strip():
            status = "not-extracted"
        rows.append(
            Prediction(
                id=f"{dataset}/{key}",
                prompt=str(raw.get("origin_prompt", one.get("prompt", ""))),
                expected=str(raw.get("gold", one.get("references", ""))),
                text=text,
                extracted=taken if status in ("correct", "wrong") else None,
                status=status,
                subset=dataset,
                trouble="the answer is empty" if status == "no-answer" else "",
            )
        )
    return rows


def _right(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_right(v) for v in value)
    return value is True or str(value).casefold() == "true"
