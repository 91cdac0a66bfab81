"""Evaluation tools' files, bounded: a JSON object, JSON Lines, and what counts as a number in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain

LARGEST = 1 << 30
MOST = 1e300  # no figure of any metric


def number(value: Any) -> bool:
    """A finite one: Python's JSON reads NaN, Infinity and integers beyond any float, and the tools write the first."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -MOST < value < MOST


def not_finite(value: Any) -> bool:
    """A number in the file that is none: NaN, Infinity, or beyond any figure."""
    return isinstance(value, (int, float)) and not number(value) and not isinstance(value, bool)


def one_model(files: list[Path]) -> None:
    """Raises FileFormatError if the files are of several models, whose folder's name is the model's."""
    models = sorted({f.parent.name for f in files})
    if len(models) > 1:
        raise FileFormatError(
            f"{files[0].parents[1]} holds {len(models)} models: {', '.join(models[:4])}",
            mend="Name a run of one model: move the others away.",
        )


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
