"""What lm-eval 0.4 leaves: `results_*.json` and, per task, `samples_TASK_*.jsonl`.

In: the folder given as `--output_path`. Out: a `ToolOutput`. lm-eval adds the files of every run to the same folder;
those of one run bear the same time and lie side by side, and only they belong together. Refuses (FileFormatError): no
results file, or one whose `results` is no table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.measure.accuracy.lm_eval_samples import read_samples
from seatrial.measure.accuracy.outside import Figure, ToolOutput
from seatrial.measure.accuracy.records import Prediction
from seatrial.measure.accuracy.tool_files import lines, load, not_finite, number


def read_lm_eval(folder: Path, task: str) -> ToolOutput:
    """The newest run in the folder, whichever model it is of."""
    # The time in the name sorts as it passes; the folder above it is the model's.
    files = sorted(folder.rglob("results_*.json"), key=lambda f: (f.name, str(f)))
    if not files:
        raise FileFormatError(f"{folder} holds no results_*.json of lm-eval", mend="Did it run with --output_path?")
    newest = files[-1]
    document = load(newest)
    results = document.get("results")
    if not isinstance(results, dict) or not results:
        raise FileFormatError(f"{newest}: `results` is no table")
    counts = _table(document.get("n-samples"))
    better = _table(document.get("higher_is_better"))
    figures: list[Figure] = []
    dropped: list[str] = []
    for name, row in results.items():
        for metric, value in row.items() if isinstance(row, dict) else ():
            if "," not in metric or "_stderr" in metric or not number(value):
                if "," in metric and "_stderr" not in metric and not_finite(value):
                    dropped.append(f"{name} {metric} is no finite number")
                continue
            error = row.get(metric.replace(",", "_stderr,", 1))
            bare = metric.split(",", 1)[0]
            figures.append(
                Figure(
                    task=name,
                    metric=metric,
                    value=float(value),
                    n=_count(counts, name, "effective") or None,
                    stderr=float(error) if number(error) else None,
                    higher_is_better=bool(_table(better.get(name)).get(bare, True)),
                )
            )
    predictions: list[Prediction] = []
    kept: dict[str, set[str]] = {}
    missing: list[str] = []
    heat: list[float] = []
    stamp = newest.stem.removeprefix("results_")
    for file in sorted(newest.parent.glob(f"samples_*_{stamp}.jsonl")):
        name = file.stem.removeprefix("samples_").removesuffix(f"_{stamp}")
        rows = lines(file)
        kept[name] = {str(row.get("doc_id")) for row in rows}
        found = read_samples(rows, name, _metrics(results.get(name)))
        predictions += found.predictions
        missing += [found.unjudged] if found.unjudged else []
        heat += [found.temperature] if found.temperature is not None else []
    fewshot = _table(document.get("n-shot")).get(task)
    return ToolOutput(
        tool="lm-eval",
        version=str(document.get("lm_eval_version") or "unknown"),
        task=task,
        predictions=tuple(predictions),
        figures=tuple(figures),
        num_fewshot=fewshot if isinstance(fewshot, int) else None,
        total=_count(counts, task, "original"),
        dropped=tuple(dropped),
        missing="; ".join([*_missing(counts, kept), *missing]),
        cut=_cut(counts),
        temperature=max(heat, default=None),
        chat=_chat(document),
    )


def _chat(document: dict[str, Any]) -> bool | None:
    """By the kind of the model, or by the template that every request went through; None where neither is said."""
    if str(_table(document.get("config")).get("model")).endswith("chat-completions"):
        return True
    return bool(document["chat_template"]) if "chat_template" in document else None


def _cut(counts: dict[str, Any]) -> str:
    """The first task of which only some questions were asked (`--limit`)."""
    for name in counts:
        whole, asked = _count(counts, name, "original"), _count(counts, name, "effective")
        if whole is not None and asked is not None and asked < whole:
            return f"{asked} of {whole} questions of {name} were asked"
    return ""


def _missing(counts: dict[str, Any], kept: dict[str, set[str]]) -> list[str]:
    """Tasks with fewer kept samples than lm-eval says it asked. (Groups have no count of their own.)"""
    if not kept:
        return ["no sample was kept beside the figures"]
    found = []
    for name in counts:
        asked, have = _count(counts, name, "effective"), len(kept.get(name, ()))
        if asked is not None and have < asked:
            found.append(f"{have} of {asked} samples of {name} are kept")
    return found


def _metrics(row: Any) -> tuple[str, ...]:
    """The metrics of a task, by its figures: `exact_match,strict-match` is one of exact_match."""
    names = [k.split(",", 1)[0] for k in _table(row) if "," in k and "_stderr" not in k]
    return tuple(dict.fromkeys(names))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(counts: dict[str, Any], task: str, which: str) -> int | None:
    found = _table(counts.get(task)).get(which)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
