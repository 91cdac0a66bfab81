"""Accuracy results a delivery may quote: of a recorded accuracy run, of one's folder, or attached to a step of the run.

In: sources. Out: `Scored`. Only a whole task or data set, complete and without a limit, may be quoted; the rest is
dropped with its reason. What lies beside a score is counted again (`recount`), and a score that its own answers
contradict is no result (FileFormatError). Fields that this version does not know are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record
from seatrial.delivery.recount import recount
from seatrial.delivery.sources import SCORE, Source, at
from seatrial.measure.accuracy.records import AccuracyScore, DatasetConfig, Prediction, RequestConfig, Score

LARGEST = 256 << 20  # bytes of one file of an accuracy run; 1,319 questions of GSM8K with their answers are about 4 MiB
R = TypeVar("R", bound=Record)


def refusal(score: AccuracyScore) -> str:
    """Why it may not be quoted as the model's score; empty if it may."""
    what = f"{score.task} {score.metric}"
    if not score.complete:
        return f"{what}: incomplete, {score.partial_reason}"
    if score.limit is not None:
        return f"{what}: only the first {score.limit} questions were asked"
    return "" if score.conclusive else f"{what}: level {score.level} is no whole task"


class Scored(Record):
    """`quoted` may be delivered. `documents`: for each source name to text of its files, to go along with the delivery.

    `left`: figures that their answers cannot derive again. `runs`: the recorded accuracy runs among the sources.
    """

    quoted: tuple[AccuracyScore, ...] = ()
    refused: tuple[str, ...] = ()
    documents: tuple[dict[str, str], ...] = ()
    left: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()


def read_scores(sources: Sequence[Source | Path], *, models: tuple[str, ...] = ()) -> Scored:
    """`models`: the names the run's model goes by; a score of another one is refused. Raises FileFormatError for a file
    that is no score document, and for one that the answers beside it contradict.
    """
    quoted: list[AccuracyScore] = []
    refused: list[str] = []
    left: list[str] = []
    documents: list[dict[str, str]] = []
    places = tuple(s if isinstance(s, Source) else at(s) for s in sources)
    for source in places:
        texts = {name: _bytes(Path(path)) for name, path in source.files.items()}
        rows, why = _scores(texts[SCORE], source.where)
        documents.append({name: data.decode("utf-8", "replace") for name, data in texts.items()})
        refused += [why] if why else []
        left += counted(texts, source.where)
        for score in rows:
            named = score.model.rstrip("/").rsplit("/", 1)[-1]
            other = f"{score.task} {score.metric}: the score is of the model {score.model!r}" if models else ""
            told = f"{score.task} {score.metric}: {source.refused}" if source.refused else refusal(score)
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
    once = {(s.task, s.metric): s for s in quoted if (s.task, s.metric) not in torn}
    return Scored(
        quoted=tuple(once.values()),
        refused=tuple(refused),
        documents=tuple(documents),
        left=tuple(left),
        sources=places,
    )


def counted(texts: dict[str, bytes], where: str) -> tuple[str, ...]:
    """Count a score again from what lies beside it; raises FileFormatError on a contradiction. Returns what is left."""
    raw = texts.get("raw_predictions.jsonl")
    if raw is None:
        return (f"{where}: the answers are not beside it, so nothing was counted again",)
    score = _known_as(Score, _plain(texts[SCORE], where), where)
    dataset = texts.get("dataset_config.json")
    failed = texts.get("failed_cases.jsonl")
    again = recount(
        score,
        predictions(raw, where),
        _known_as(DatasetConfig, _plain(dataset, where), where) if dataset is not None else None,
        predictions(failed, where) if failed is not None else None,
    )
    if again.wrong:
        more = f" (and {len(again.wrong) - 1} more)" if len(again.wrong) > 1 else ""
        raise FileFormatError(
            f"{where} contradicts the answers beside it: {again.wrong[0]}{more}", mend="Run the evaluation again."
        )
    return again.left


def predictions(data: bytes, where: str) -> tuple[Prediction, ...]:
    """The lines of a predictions file."""
    return tuple(
        _known_as(Prediction, _plain(line, f"{where} line {n}"), f"{where} line {n}")
        for n, line in enumerate(data.splitlines(), 1)
        if line.strip()
    )


def _bytes(path: Path) -> bytes:
    try:
        return read_plain(path, limit=LARGEST)
    except OSError as exc:
        raise FileFormatError(
            f"{path} cannot be read: {exc.strerror}", mend="Name an accuracy run, its folder or its score.json."
        ) from exc


def _scores(data: bytes, where: str) -> tuple[list[AccuracyScore], str]:
    """The figures, and for a document without any the reason that it gives itself."""
    document = _plain(data, where)
    rows = document.get("scores", [document]) if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise FileFormatError(f"{where}: no list of scores", mend="Name the score.json of an accuracy run.")
    found = [_known_as(AccuracyScore, row, where) for row in rows]
    if found or not isinstance(document, dict):
        return found, ""
    return [], f"the result of level {document.get('level')} has no figure: {document.get('reason') or 'none is given'}"


def _plain(data: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{where}: {exc}", mend="Name the score.json of an accuracy run.") from exc


def _known_as(kind: type[R], row: Any, where: str) -> R:
    """The record, without the fields that this version does not know."""
    nested = {"request": RequestConfig, "scores": AccuracyScore}

    def known(value: Any, like: type[Record]) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {k: v for k, v in value.items() if k in like.__annotations__}
        for name, inner in nested.items():
            if name in kept:
                part = kept[name]
                kept[name] = [known(p, inner) for p in part] if isinstance(part, list) else known(part, inner)
        return kept

    try:
        return msgspec.convert(known(row, kind), type=kind)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise FileFormatError(f"{where}: {exc}", mend="Name the score.json of an accuracy run.") from exc
