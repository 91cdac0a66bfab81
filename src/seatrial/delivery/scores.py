"""Accuracy results a delivery may quote: from `score.json` of an accuracy run, or attached to a step of the run.

In: files. Out: `Scored`. Only a whole task or data set, complete and without a limit, may be quoted; the rest is
dropped with its reason. The document is the accuracy run's own; fields this version does not know are left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record
from seatrial.measure.accuracy.records import AccuracyScore, RequestConfig
from seatrial.measure.accuracy.run import read_run

LARGEST = 64 << 20
SCORE, PREDICTIONS = "score.json", "raw_predictions.jsonl"


def refusal(score: AccuracyScore) -> str:
    """Why it may not be quoted as the model's score; empty if it may."""
    what = f"{score.task} {score.metric}"
    if not score.complete:
        return f"{what}: incomplete, {score.partial_reason}"
    if score.limit is not None:
        return f"{what}: only the first {score.limit} questions were asked"
    return "" if score.conclusive else f"{what}: level {score.level} is no whole task"


class Scored(Record):
    """`quoted` may be delivered. `documents`: what was read, in order, to go along with the delivery."""

    quoted: tuple[AccuracyScore, ...] = ()
    refused: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


def read_scores(paths: tuple[Path, ...], *, models: tuple[str, ...] = ()) -> Scored:
    """`models`: the names the run's model goes by; a score of another one is refused. Raises FileFormatError for a file
    that is no score document.
    """
    quoted: list[AccuracyScore] = []
    refused: list[str] = []
    documents: list[str] = []
    for path in paths:
        try:
            if path.stat().st_size > LARGEST:
                raise FileFormatError(f"{path} is over {LARGEST >> 20} MiB, which no score document is")
            data = read_plain(path, limit=LARGEST)
        except OSError as exc:
            raise FileFormatError(f"{path} cannot be read: {exc.strerror}", mend="Name a score.json.") from exc
        documents.append(data.decode("utf-8", "replace"))
        rows, why = _scores(data, str(path))
        refused += [why] if why else []
        if path.name == SCORE and (path.parent / PREDICTIONS).exists():
            # The answers lie beside it: a score that counts others than those is not theirs.
            read_run(path.parent)
        for score in rows:
            named = score.model.rstrip("/").rsplit("/", 1)[-1]
            other = f"{score.task} {score.metric}: the score is of the model {score.model!r}" if models else ""
            told = refusal(score)
            if told or (other and named not in models and score.model not in models):
                refused.append(told or other)
            else:
                quoted.append(score)
    values: dict[tuple[str, str], set[float]] = {}
    for score in quoted:
        values.setdefault((score.task, score.metric), set()).add(score.value)
    # Of two results of one figure nobody may choose the better.
    torn = {key for key, seen in values.items() if len(seen) > 1}
    refused += [f"{task} {metric}: two results of it, {sorted(values[task, metric])}" for task, metric in sorted(torn)]
    kept = tuple(s for s in quoted if (s.task, s.metric) not in torn)
    return Scored(quoted=kept, refused=tuple(refused), documents=tuple(documents))


def _scores(data: bytes, where: str) -> tuple[list[AccuracyScore], str]:
    """The figures, and for a document without any the reason that it gives itself."""
    try:
        document = msgspec.json.decode(data)
        rows = document.get("scores", [document]) if isinstance(document, dict) else document
        found = msgspec.convert([_known(row) for row in rows], type=list[AccuracyScore])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, TypeError) as exc:
        raise FileFormatError(f"{where}: {exc}", mend="Name the score.json of an accuracy run.") from exc
    if found or not isinstance(document, dict):
        return found, ""
    return [], f"the result of level {document.get('level')} has no figure: {document.get('reason') or 'none is given'}"


def _known(row: Any) -> Any:
    """Without the fields that this version does not know."""
    if not isinstance(row, dict):
        return row
    kept = {k: v for k, v in row.items() if k in AccuracyScore.__annotations__}
    request = kept.get("request")
    if isinstance(request, dict):
        kept["request"] = {k: v for k, v in request.items() if k in RequestConfig.__annotations__}
    return kept
