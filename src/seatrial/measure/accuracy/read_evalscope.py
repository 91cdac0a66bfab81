"""What evalscope 1.x leaves: `reports/MODEL/TASK.json`, `reviews/MODEL/TASK_SUBSET.jsonl`, `configs/task_config.yaml`.

In: the folder given as `--work-dir`. Out: a `ToolOutput`. Refuses (FileFormatError): no report of the task, one whose
`metrics` is no list, or reports of several models. evalscope numbers the generations of a question one after the other:
what they share is `group_id`, and it is the question here. A metric that evalscope could not compute stands as 0 in its
report, with the error only beside each answer: it is dropped here, with that error, and never becomes a figure.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.measure.accuracy.outside import Figure, ToolOutput
from seatrial.measure.accuracy.records import Prediction, Status
from seatrial.measure.accuracy.tool_files import lines, load, not_finite, number, one_model

VERSION = re.compile(r"^evalscope_version: *['\"]?([\w.+-]+)", re.MULTILINE)
LIMIT = re.compile(r"^limit: *['\"]?([\d.]+)", re.MULTILINE)
CHAT = re.compile(r"^eval_type: *['\"]?openai_api\b", re.MULTILINE)
TEMPERATURE = re.compile(r"^ +temperature: *(\d+(?:\.\d+)?) *$", re.MULTILINE)
CONFIG = 1 << 20  # bytes of task_config.yaml that are looked at


def read_evalscope(folder: Path, task: str) -> ToolOutput:
    """One task of one run (`--no-timestamp`, or the run's own folder)."""
    near, below = folder.glob("reports/*/*.json"), folder.glob("*/reports/*/*.json")
    reports = sorted(f for f in near if f.stem == task) or sorted(f for f in below if f.stem == task)
    if not reports:
        raise FileFormatError(
            f"{folder} holds no reports/*/{task}.json of evalscope", mend="Did it run with this --work-dir?"
        )
    report = reports[-1]
    one_model([r for r in reports if r.parents[2] == report.parents[2]])
    document = load(report)
    metrics = document.get("metrics")
    if not isinstance(metrics, list):
        raise FileFormatError(f"{report}: `metrics` is no list")
    root = report.parents[2]
    # `mmlu_pro_law.jsonl` is no subset of mmlu where there is a report of mmlu_pro.
    tasks = [f.stem for f in report.parent.glob("*.json")]
    predictions: list[Prediction] = []
    failed: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for file in sorted((root / "reviews" / report.parent.name).glob("*.jsonl")):
        if not file.stem.startswith(f"{task}_"):
            continue
        if max((t for t in tasks if file.stem.startswith(f"{t}_")), key=len, default=task) != task:
            continue
        subset = file.stem.removeprefix(f"{task}_")
        for row in _once(lines(file)):
            made = _prediction(row, task, subset)
            # Before there was a `generation_index`, their order tells the generations of a question apart.
            predictions.append(made if made.repeat else replace(made, repeat=seen[made.id]))
            seen[made.id] += 1
            failed.update(_errors(row))
    figures = [f for m in metrics if isinstance(m, dict) and (f := _figure(m, task)) is not None]
    # BLEU failed: `bleu[ngram=1],mean` and its sisters are the zeros that were put in its place.
    bad = {f.metric for f in figures for name in failed if f.metric.lower().startswith(name.lower())}
    config = _config(root / "configs" / "task_config.yaml")
    version, limit, heat = VERSION.search(config), LIMIT.search(config), TEMPERATURE.search(config)
    return ToolOutput(
        tool="evalscope",
        version=version[1] if version else "unknown",
        temperature=float(heat[1]) if heat else None,
        # evalscope asks a server nothing but its chat endpoint.
        chat=True if CHAT.search(config) else None,
        cut=f"evalscope asked with a limit of {limit[1]}" if limit else "",
        task=task,
        predictions=tuple(predictions),
        figures=tuple(f for f in figures if f.metric not in bad),
        missing=_missing(document, figures, len(predictions), task),
        dropped=tuple(
            [f"{name} could not be computed: {why}" for name, why in sorted(failed.items())]
            + [f"{_name(m)} is no finite number" for m in metrics if isinstance(m, dict) and not_finite(m.get("score"))]
        ),
    )


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A review file is appended to: of an answer that was judged again the last line counts."""
    last: dict[Any, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        index = row.get("index")
        last[index if isinstance(index, (int, str)) else (place,)] = row
    return list(last.values())


def _missing(report: dict[str, Any], figures: list[Figure], kept: int, task: str) -> str:
    """Fewer answers than evalscope asked for, or than it has in its figures; "" if all are there."""
    if not kept:
        return f"evalscope kept no answers of {task} (reviews/)"
    summary = report.get("execution_summary")
    asked = summary.get("requested") if isinstance(summary, dict) else None
    if not isinstance(asked, int):
        asked = min((f.n for f in figures if f.n), default=0)
    return f"{kept} of {asked} answers of {task} are kept (reviews/)" if kept < asked else ""


def _figure(metric: dict[str, Any], task: str) -> Figure | None:
    """`accuracy,mean`, `bleu[ngram=1],mean`; before evalscope 1.10 a bare `name`."""
    if not number(metric.get("score")):
        return None
    semantics = metric.get("semantics")
    direction = semantics.get("direction") if isinstance(semantics, dict) else None
    count = metric.get("num")
    return Figure(
        task=task,
        metric=_name(metric),
        value=float(metric["score"]),
        n=count if isinstance(count, int) and count > 0 else None,
        higher_is_better=direction != "lower_is_better",
    )


def _name(metric: dict[str, Any]) -> str:
    identity = metric.get("identity")
    if not isinstance(identity, dict):
        return str(metric.get("name") or "unknown")
    more = identity.get("dimensions")
    told = ",".join(f"{k}={v}" for k, v in more.items()) if isinstance(more, dict) else ""
    name = f"{identity.get('name')}[{told}]" if told else str(identity.get("name"))
    return name + (f",{identity['aggregation']}" if identity.get("aggregation") else "")


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
    # Before evalscope kept the conversation, it kept what was put in.
    messages = row.get("messages", row.get("input"))
    spoken = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    asked: dict[str, Any] = next((m for m in spoken if m.get("role") == "user"), {})
    if isinstance(messages, str):
        asked = {"content": messages}
    sample = row.get("sample_score")
    again = sample.get("generation_index") if isinstance(sample, dict) else 0
    group = sample.get("group_id") if isinstance(sample, dict) else None
    return Prediction(
        id=f"{task}/{subset}/{group if isinstance(group, int) else row.get('index')}",
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


def _config(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(CONFIG).decode(errors="replace")
    except OSError:
        return ""
