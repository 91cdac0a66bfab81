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

CONCLUSIVE = ("L4", "L5")
LARGEST = 64 << 20


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one task, as `measure.accuracy` records it. `value` in the metric's own unit."""

    task: str
    metric: str
    value: float
    n: int
    level: str
    complete: bool
    model: str = ""
    dataset: str = ""
    tool: str = ""
    tool_version: str = ""
    partial_reason: str = ""
    stderr: float | None = None
    num_fewshot: int | None = None
    limit: int | None = None
    request: dict[str, Any] = {}
    run_id: str = ""

    @property
    def refusal(self) -> str:
        """Why it may not be quoted as the model's score; empty if it may."""
        if not self.complete:
            return f"{self.task} {self.metric}: incomplete, {self.partial_reason or 'no reason is given'}"
        if self.level not in CONCLUSIVE:
            return f"{self.task} {self.metric}: level {self.level} is no whole task"
        if self.limit is not None:
            return f"{self.task} {self.metric}: only the first {self.limit} questions were asked"
        return ""


class Scored(Record):
    """`quoted` may be delivered. `documents`: what was read, in order, to go along with the delivery."""

    quoted: tuple[Any, ...] = ()
    refused: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


def read_scores(paths: tuple[Path, ...], *, models: tuple[str, ...] = ()) -> Scored:
    """`models`: the names the run's model goes by; a score of another one is refused. Raises FileFormatError for a file
    that is no score document.
    """
    quoted: list[Score] = []
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
        for score in _scores(data, str(path)):
            named = score.model.rstrip("/").rsplit("/", 1)[-1]
            other = f"{score.task} {score.metric}: the score is of the model {score.model!r}" if models else ""
            if score.refusal or (other and named not in models and score.model not in models):
                refused.append(score.refusal or other)
            else:
                quoted.append(score)
    return Scored(quoted=tuple(quoted), refused=tuple(refused), documents=tuple(documents))


def _scores(data: bytes, where: str) -> list[Score]:
    try:
        document = msgspec.json.decode(data)
        rows = document.get("scores", [document]) if isinstance(document, dict) else document
        return msgspec.convert(rows, type=list[Score])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{where}: {exc}", mend="Name the score.json of an accuracy run.") from exc
