"""Rows of a CSV table of the vendor's, by plain column name, bounded in memory; and its numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from seatrial.core.errors import FileFormatError

# A call stack is the longest cell there is; a longer line is no table.
LONGEST_CELL = 1 << 22
FARTHEST_NS = 1 << 62


def plain(column: str) -> str:
    """A column's name without case, blanks, underscores and unit: `Total Time(us)` is `totaltime`.

    Only a unit is taken off: `Communication(Not Overlapped)` is another column than `Communication`.
    """
    text = re.sub(r"\((us|μs|µs|ms|ns|s|%)\)", "", column.replace("\ufeff", "").strip(), flags=re.I)
    return re.sub(r"[\s_]", "", text).lower()


def rows(file: Path, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Every row as plain name → text, stripped; raises FileFormatError if a needed column is missing."""
    csv.field_size_limit(LONGEST_CELL)
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.reader(line.replace("\0", "") for line in stream)
        try:
            header = [plain(cell) for cell in next(reader, [])]
            missing = [name for name in needed if name not in header]
            if missing:
                raise FileFormatError(
                    f"{file.name}: no column {', '.join(missing)} among {', '.join(header)[:200]}",
                    mend="Export it again with the profiler's own tool.",
                )
            for row in reader:
                if row:
                    yield dict(zip(header, (cell.strip() for cell in row), strict=False))
        except csv.Error as exc:
            raise FileFormatError(f"{file.name}: {exc}", mend="Export it again with the profiler's own tool.") from exc


def nanoseconds(text: str | float | int, places: int = 3) -> int:
    """A decimal number of units of 10^-9+places seconds (3: microseconds) as integer nanoseconds.

    Raises ValueError for what is no finite number or beyond any capture.
    """
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation as exc:
        raise ValueError(f"{text!r} is no number") from exc
    # By its exponent first: arithmetic with one of a million digits is an error of its own.
    if not value.is_finite() or value.adjusted() > 20 or abs(value) > FARTHEST_NS:
        raise ValueError(f"{text!r} is no time")
    return int((value * 10**places).to_integral_value())


def optional_ns(row: dict[str, str], name: str) -> int | None:
    """A column in microseconds; None where the table lacks it or the cell is blank."""
    text = row.get(name, "")
    return nanoseconds(text) if text and text not in {"N/A", "-"} else None


def whole(text: str, other: int) -> int:
    """A small whole number, or `other` where the cell is blank or a word (`host`)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else other
