"""What lm-eval 0.4 leaves: `results_*.json` and, per task, `samples_TASK_*.jsonl`.

In: the folder given as `--output_path`. Out: a `ToolOutput`. Refuses (FileFormatError): no results file, or one whose
`results` is no table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.measure.accuracy.outside import Figure, ToolOutput
from seatrial.measure.accuracy.records import Prediction, Status

LARGEST = 1 << 30


def read_lm_eval(folder: Path, task: str) -> ToolOutput:
    """The newest run in the folder."""
    files = sorted(folder.rglob("results_*.json"))
    if not files:
        raise FileFormatError(f"{folder} holds no results_*.json of lm-eval", mend="Did it run with --output_path?")
    document = load(files[-1])
    results = document.get("results")
    if not isinstance(results, dict) or not results:
        raise FileFormatError(f"{files[-1]}: `results` is no table")
    counts = document.get("n-samples") or {}
    better = document.get("higher_is_better") or {}
    figures = []
    for name, row in results.items():
        for metric, value in row.items() if isinstance(row, dict) else ():
            if "," not in metric or "_stderr" in metric or not number(value):
                continue
            error = row.get(metric.replace(",", "_stderr,", 1))
            bare = metric.split(",", 1)[0]
            figures.append(
                Figure(
                    task=name,
                    metric=metric,
                    value=float(value),
                    n=int((counts.get(name) or {}).get("effective") or 0) or None,
                    stderr=float(error) if number(error) else None,
                    higher_is_better=bool((better.get(name) or {}).get(bare, True)),
                )
            )
    predictions: list[Prediction] = []
    kept: dict[str, set[str]] = {}
    for file in sorted(folder.rglob("samples_*.jsonl")):
        name = file.stem.removeprefix("samples_").rsplit("_", 1)[0]
        rows = lines(file)
        kept.setdefault(name, set()).update(str(row.get("doc_id")) for row in rows)
        predictions += [_prediction(row, name) for row in rows]
    fewshot = (document.get("n-shot") or {}).get(task)
    return ToolOutput(
        tool="lm-eval",
        version=str(document.get("lm_eval_version") or "unknown"),
        task=task,
        predictions=tuple(_unfiltered(predictions)),
        figures=tuple(figures),
        num_fewshot=fewshot if isinstance(fewshot, int) else None,
        total=(counts.get(task) or {}).get("original"),
        missing="; ".join(_missing(counts, kept)),
    )


def _missing(counts: dict[str, Any], kept: dict[str, set[str]]) -> list[str]:
    """Tasks with fewer kept samples than lm-eval says it asked. (Groups have no count of their own.)"""
    if not kept:
        return ["no sample was kept beside the figures"]
    found = []
    for name, row in counts.items():
        asked = (row or {}).get("effective") if isinstance(row, dict) else None
        have = len(kept.get(name, ()))
        if isinstance(asked, int) and have < asked:
            found.append(f"{have} of {asked} samples of {name} are kept")
    return found


def _prediction(row: dict[str, Any], task: str) -> Prediction:
    """One sample; with several filters lm-eval writes one line for each."""
    text = _first(row.get("resps"))
    taken = _first(row.get("filtered_resps"))
    metrics = {m: float(row[m]) for m in row.get("metrics") or () if number(row.get(m))}
    right = any(v >= 1.0 for k, v in metrics.items() if k in ("exact_match", "acc", "acc_norm", "em", "f1"))
    status: Status = "correct" if right else "wrong"
    if not text.strip():
        status = "no-answer"
    elif not right and taken in ("", "[invalid]"):
        status = "not-extracted"
    filter_name = str(row.get("filter") or "none")
    return Prediction(
        id=f"{task}/{row.get('doc_id')}" + ("" if filter_name == "none" else f"/{filter_name}"),
        prompt=_prompt(row.get("arguments")),
        expected=str(row.get("target", "")),
        text=text,
        extracted=None if status in ("no-answer", "not-extracted") else taken,
        status=status,
        subset=task,
        trouble="the answer is empty" if status == "no-answer" else "",
        metrics=metrics,
    )


def _unfiltered(rows: list[Prediction]) -> list[Prediction]:
    """In order of appearance, an id once."""
    seen: dict[str, Prediction] = {}
    for row in rows:
        seen.setdefault(row.id, row)
    return list(seen.values())


def _first(value: Any) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    return "" if isinstance(value, list) else str(value)


def _prompt(arguments: Any) -> str:
    if isinstance(arguments, dict):
        arguments = next((v for v in arguments.values()), "")
    if isinstance(arguments, dict):
        return str(arguments.get("arg_0", ""))
    return _first(arguments)


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def load(file: Path) -> dict[str, Any]:
    """A JSON object from a bounded file."""
    try:
        if file.stat().st_size > LARGEST:
            raise FileFormatError(f"{file} is larger than 1 GiB")
        document = json.loads(read_plain(file, limit=LARGEST))
    except (OSError, ValueError, RecursionError) as exc:
        raise FileFormatError(f"{file}: {exc}") from exc
    if not isinstance(document, dict):
        raise FileFormatError(f"{file} is no JSON object")
    return document


def lines(file: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line; raises FileFormatError naming the line."""
    found = []
    try:
        data = read_plain(file, limit=LARGEST)
    except OSError as exc:
        raise FileFormatError(f"{file}: {exc.strerror or exc}") from exc
    for place, line in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise FileFormatError(f"{file} line {place}: {exc}") from exc
        if isinstance(row, dict):
            found.append(row)
    return found
