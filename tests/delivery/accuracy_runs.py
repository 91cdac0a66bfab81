"""Accuracy runs of our own to count again: five files with answers whose score follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seatrial.core.record import to_json
from seatrial.measure.accuracy.outside import Figure, ToolOutput, keep
from seatrial.measure.accuracy.records import Prediction, RequestConfig

FILTERS = ("strict-match", "flexible-extract")


def answers(count: int = 6) -> tuple[Prediction, ...]:
    """As lm-eval's samples of one task with two filters: the strict one takes every third answer less."""
    rows = []
    for number in range(count):
        for kind in FILTERS:
            right = number % 2 == 0 or (kind == FILTERS[1] and number % 3 == 0)
            rows.append(
                Prediction(
                    id=f"sums/{number}/{kind}",
                    prompt=f"What is {number} plus 1?",
                    expected=str(number + 1),
                    text=f"It is {number + 1 if right else 99}.",
                    extracted=str(number + 1 if right else 99),
                    status="correct" if right else "wrong",
                    subset="sums",
                    metrics={"exact_match": float(right)},
                )
            )
    return tuple(rows)


def accuracy_run(folder: Path, *, level: str = "L4", model: str = "qwen3") -> Path:
    """The five files of an lm-eval task, as `seatrial accuracy import` writes them."""
    rows = answers()
    figures = []
    for kind in FILTERS:
        mine = [r.metrics["exact_match"] for r in rows if r.id.endswith(kind)]
        figures.append(Figure(task="sums", metric=f"exact_match,{kind}", value=sum(mine) / len(mine), n=len(mine)))
    found = ToolOutput(
        tool="lm-eval", version="0.4.12", task="sums", predictions=rows, figures=tuple(figures), num_fewshot=0, total=6
    )
    request = RequestConfig(
        api_url="http://127.0.0.1:8000", model=model, num_fewshot=0, temperature=0.0, chat_template=False
    )
    keep(folder, found, request=request, level=level, limit=None, source="lm-eval task sums")  # type: ignore[arg-type]
    return folder


def edit(folder: Path, name: str, change: Any) -> None:
    """`change(document)` on a JSON file, or on the list of lines of a JSON Lines file."""
    file = folder / name
    if name.endswith(".jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        change(rows)
        file.write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
        return
    document = json.loads(file.read_text())
    change(document)
    file.write_bytes(to_json(document, indent=2))
