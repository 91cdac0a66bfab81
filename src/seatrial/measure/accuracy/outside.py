"""Evaluation tools in an environment of their own: lm-eval and evalscope, driven against a server.

In: the tool's interpreter, an address, a task. Out: the five files and a `Score`. Nothing is fetched: the tool runs
with the hub switched off. Refuses (EngineError): a tool that is not installed there or that ends with an error (its
last lines are in the message). Refuses (FileFormatError): an output that is not the tool's.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.measure import tool_process
from seatrial.measure.accuracy.records import AccuracyScore, DatasetConfig, Level, Prediction, RequestConfig, Score
from seatrial.measure.accuracy.run import RunWriter, tally, unanswered

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "OPENAI_API_KEY": "none",
}


class Figure(Record):
    """`value` in the metric's unit; `higher_is_better` as the tool says.

    `n`: as the tool counts (questions or answers), None if it does not. `answers`: of how many the value was made,
    where the reader knows that `n` counts questions.
    """

    task: str
    metric: str
    value: float
    n: int | None = None
    answers: int | None = None
    stderr: float | None = None
    higher_is_better: bool = True


class ToolOutput(Record):
    """What a reader made of a tool's files. `total`: the task's size, None if not said.

    `dropped`: figures in the files that are none, each with the reason; they make the result partial.
    `missing`: which answers behind the figures were not kept; empty if all are. `cut`: that not all questions of the
    task were asked, as the tool says; empty if they were, or if it does not say. `temperature`, `chat` (the questions
    went through the chat template): None if it is not said.
    """

    tool: str
    version: str
    task: str
    predictions: tuple[Prediction, ...]
    figures: tuple[Figure, ...]
    num_fewshot: int | None = None
    total: int | None = None
    dropped: tuple[str, ...] = ()
    missing: str = ""
    cut: str = ""
    temperature: float | None = None
    chat: bool | None = None


def lm_eval_command(
    python: Path,
    url: str,
    model: str,
    *,
    task: str,
    output: Path,
    include: Path | None = None,
    limit: int | None = None,
    fewshot: int | None = None,
    chat: bool = False,
    concurrency: int = 1,
) -> tuple[str, ...]:
    """lm-eval 0.4's command line against an OpenAI-compatible server; greedy unless the task says otherwise."""
    path = "/v1/chat/completions" if chat else "/v1/completions"
    kind = "local-chat-completions" if chat else "local-completions"
    settings = f"model={model},base_url={url}{path},num_concurrent={concurrency},max_retries=1"
    settings += ",tokenizer_backend=None,tokenized_requests=False"
    argv = [str(python), "-m", "lm_eval", "--model", kind, "--model_args", settings, "--tasks", task]
    argv += ["--output_path", str(output), "--log_samples", "--batch_size", "1"]
    argv += ["--include_path", str(include)] if include is not None else []
    argv += ["--limit", str(limit)] if limit is not None else []
    argv += ["--num_fewshot", str(fewshot)] if fewshot is not None else []
    argv += ["--apply_chat_template"] if chat else []
    return tuple(argv)


def evalscope_command(
    python: Path,
    url: str,
    model: str,
    *,
    task: str,
    output: Path,
    data: Path | None = None,
    limit: int | None = None,
    max_tokens: int = 256,
) -> tuple[str, ...]:
    """evalscope 1.x's command line against a chat endpoint, greedy, one request at a time.

    `data`: a folder with the task's files (`NAME.jsonl`, or `NAME_val.jsonl` and `NAME_dev.jsonl`); each NAME becomes a
    subset. Raises UsageError if there is none.
    """
    settings: dict[str, Any] = {}
    if data is not None:
        names = {re.sub(r"_(val|dev|test)$", "", f.stem) for f in data.glob("*.jsonl")}
        if not names:
            raise UsageError(f"{data} holds no *.jsonl", mend="--task-path names the folder with the task's data.")
        settings = {task: {"local_path": str(data), "subset_list": sorted(names)}}
    argv = [str(python), "-m", "evalscope.cli.cli", "eval", "--model", model, "--api-url", f"{url}/v1"]
    argv += ["--api-key", "none", "--eval-type", "openai_api", "--datasets", task, "--eval-batch-size", "1"]
    argv += ["--generation-config", json.dumps({"temperature": 0, "max_tokens": max_tokens})]
    argv += ["--dataset-args", json.dumps(settings)] if settings else []
    argv += ["--work-dir", str(output), "--no-timestamp"]
    argv += ["--limit", str(limit)] if limit is not None else []
    return tuple(argv)


def run_tool(
    argv: Sequence[str], *, log: Path, cwd: Path, timeout_s: float, say: Callable[[str], None] = lambda text: None
) -> None:
    """Run it to its end with the hub switched off; raises EngineError with its last lines otherwise."""
    say(f"running {Path(argv[2]).name if len(argv) > 2 else argv[0]}")
    mend = "Give --tool-python of an environment with the tool (python -m venv …; pip install 'lm_eval[api]')."
    tool_process.run_tool("the tool", argv, env=OFFLINE, cwd=cwd, log=log, timeout_s=timeout_s, mend=mend)


def keep(
    folder: Path,
    found: ToolOutput,
    *,
    request: RequestConfig,
    level: Level,
    limit: int | None,
    source: str,
    partial: str = "",
    run_id: str = "",
) -> Score:
    """The five files from what a reader found. Predictions without an answer make the result partial."""
    run_id = run_id or uuid.uuid4().hex[:12]
    lost = [p for p in found.predictions if p.status == "no-answer"]
    if lost:
        reason = f"{unanswered(found.predictions)} (first: {lost[0].id})"
        partial = f"{partial}; {reason}" if partial else reason
    if found.dropped:
        reason = "; ".join(found.dropped)
        partial = f"{partial}; {reason}" if partial else reason
    if found.missing:
        # A figure whose answers nobody can look at is not the score of a whole task.
        partial = f"{partial}; {found.missing}" if partial else found.missing
    if found.cut and limit is None:
        # Whoever calls it a whole task did not say that it was cut.
        partial = f"{partial}; {found.cut}" if partial else found.cut
    counted = [(f, _count(f, found.predictions)) for f in found.figures if f.n or found.predictions]
    scores = tuple(
        AccuracyScore(
            run_id=run_id,
            model=request.model,
            task=f.task,
            dataset=f.task,
            metric=f.metric,
            value=f.value,
            n=count.questions,
            answers=count.answers,
            level=level,
            complete=not partial,
            partial_reason=partial,
            tool=found.tool,
            tool_version=found.version,
            request=request,
            stderr=f.stderr,
            higher_is_better=f.higher_is_better,
            num_fewshot=found.num_fewshot,
            limit=limit,
        )
        for f, count in counted
    )
    dataset = DatasetConfig(
        name=found.task,
        source=source,
        limit=limit,
        total=found.total,
        asked=len(found.predictions),
        subsets=tuple(sorted({p.subset for p in found.predictions})),
    )
    with RunWriter(folder, request, dataset) as writer:
        for row in found.predictions:
            writer.add(row)
        score = tally(run_id, level, found.predictions, partial=partial, scores=scores)
        writer.finish(score)
    return score


class Count(Record):
    """Behind a figure. `answers` is None where every question was asked once."""

    questions: int
    answers: int | None


def _count(figure: Figure, predictions: Sequence[Prediction]) -> Count:
    """By the answers that are kept; a tool that asks a question several times may count every answer."""
    mine = [p for p in predictions if p.subset == figure.task] or list(predictions)
    distinct = len({p.id for p in mine})
    told = figure.n or len(mine)
    if figure.answers is not None or distinct == len(mine):
        return Count(questions=told, answers=figure.answers)
    return Count(questions=min(told, distinct), answers=told if told > distinct else len(mine))
