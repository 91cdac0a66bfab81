"""What evalscope 1.x leaves: `reports/MODEL/TASK.json`, `reviews/MODEL/TASK_SUBSET.jsonl`, `configs/task_config.yaml`.

In: the folder given as `--work-dir`. Out: a `ToolOutput`. Refuses (FileFormatError): no report of the task, or one
whose `metrics` is no list. A metric that evalscope could not compute stands as 0 in its report, with the error
only beside each answer: it is dropped here, with that error, and never becomes a figure.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.measure.accuracy.outside import Figure, ToolOutput
from seatrial.measure.accuracy.tool_files import lines, load, number
from seatrial.measure.accuracy.records import Prediction, Status

VERSION = re.compile(r"^evalscope_version: *['\"]?([\w.+-]+)", re.MULTILINE)
CONFIG = 1 << 20  # bytes of task_config.yaml that are looked at


def read_evalscope(folder: Path, task: str) -> ToolOutput:
    """One task of one run (`--no-timestamp`, or the run's own folder)."""
    reports = sorted(folder.glob(f"reports/*/{task}.json")) or sorted(folder.glob(f"*/reports/*/{task}.json"))
    if not reports:
        raise FileFormatError(
            f"{folder} holds no reports/*/{task}.json of evalscope", mend="Did it run with this --work-dir?"
        )
    report = reports[-1]
    document = load(report)
    metrics = document.get("metrics")
    if not isinstance(metrics, list):
        raise FileFormatError(f"{report}: `metrics` is no list")
    root = report.parents[2]
    predictions: list[Prediction] = []
    failed: dict[str, str] = {}
    for file in sorted((root / "reviews" / report.parent.name).glob(f"{task}_*.jsonl")):
        subset = file.stem.removeprefix(f"{task}_")
        for row in lines(file):
            predictions.append(_prediction(row, task, subset))
            failed.update(_errors(row))
    figures = [f for m in metrics if isinstance(m, dict) and (f := _figure(m, task)) is not None]
    # BLEU failed: `bleu[ngram=1],mean` and its sisters are the zeros that were put in its place.
    bad = {f.metric for f in figures for name in failed if f.metric.lower().startswith(name.lower())}
    return ToolOutput(
        tool="evalscope",
        version=_version(root / "configs" / "task_config.yaml"),
        task=task,
        predictions=tuple(predictions),
        figures=tuple(f for f in figures if f.metric not in bad),
        missing="" if predictions else f"evalscope kept no answers of {task} (reviews/)",
        dropped=tuple(f"{name} could not be computed: {why}" for name, why in sorted(failed.items())),
    )


def _figure(metric: dict[str, Any], task: str) -> Figure | None:
    """`accuracy,mean`, `bleu[ngram=1],mean`; before evalscope 1.10 a bare `name`."""
    if not number(metric.get("score")):
        return None
    identity = metric.get("identity")
    if isinstance(identity, dict):
        more = identity.get("dimensions")
        told = ",".join(f"{k}={v}" for k, v in more.items()) if isinstance(more, dict) else ""
        name = f"{identity.get('name')}[{told}]" if told else str(identity.get("name"))
        name += f",{identity['aggregation']}" if identity.get("aggregation") else ""
    else:
        name = str(metric.get("name") or "unknown")
    semantics = metric.get("semantics")
    direction = semantics.get("direction") if isinstance(semantics, dict) else None
    count = metric.get("num")
    return Figure(
        task=task,
        metric=name,
        value=float(metric["score"]),
        n=count if isinstance(count, int) and count > 0 else None,
        higher_is_better=direction != "lower_is_better",
    )


def _score(row: dict[str, Any]) -> dict[str, Any]:
    sample = row.get("sample_score")
    score = sample.get("score") if isinstance(sample, dict) else None
    return score if isinstance(score, dict) else {}


def _errors(row: dict[str, Any]) -> dict[str, str]:
    """Metric to the first words of its error."""
    more = _score(row).get("metadata")
    told = more.get("metric_errors") if isinstance(more, dict) else None
    if not isinstance(told, dict):
        return {}
    return {str(k): " ".join(str(v).replace("*", " ").split())[:120] for k, v in told.items()}


def _prediction(row: dict[str, Any], task: str, subset: str) -> Prediction:
    score = _score(row)
    values = score.get("value")
    metrics = {str(k): float(v) for k, v in values.items() if number(v)} if isinstance(values, dict) else {}
    text = str(score.get("prediction") or "")
    taken = str(score.get("extracted_prediction") or "")
    main = score.get("main_score_name") or next(iter(metrics), "")
    status: Status = "correct" if metrics.get(str(main), 0.0) >= 1.0 else "wrong"
    trouble = ""
    if not text.strip():
        status, trouble = "no-answer", "the answer is empty"
    elif score.get("status") not in (None, "success"):
        # The judge, or the metric, gave no verdict on this answer: that is not a wrong answer.
        status, trouble = "no-answer", f"evalscope could not score it: {score.get('status')}"
    elif status == "wrong" and not taken.strip():
        status = "not-extracted"
    target = row.get("target")
    messages = row.get("messages")
    spoken = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    asked: dict[str, Any] = next((m for m in spoken if m.get("role") == "user"), {})
    sample = row.get("sample_score")
    again = sample.get("generation_index") if isinstance(sample, dict) else 0
    return Prediction(
        id=f"{task}/{subset}/{row.get('index')}",
        prompt=str(asked.get("content", "")),
        expected=" | ".join(map(str, target))
        if isinstance(target, list)
        else str(target if target is not None else ""),
        text=text,
        extracted=taken if status in ("correct", "wrong") else None,
        status=status,
        subset=subset,
        repeat=again if isinstance(again, int) else 0,
        trouble=trouble,
        metrics=metrics,
    )


def _version(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            found = VERSION.search(stream.read(CONFIG).decode(errors="replace"))
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"
