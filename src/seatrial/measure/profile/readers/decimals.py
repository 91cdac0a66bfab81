"""Decimal text to integers, many at once and exactly.

Absolute microseconds (1763600000000050.500) do not fit a float64, whose step there is 0.25 us. In: tokens as written.
Out: int64 in units of 10**-places, rounded to nearest; a token that is no plain decimal is marked, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seatrial.measure.profile.events import I64, Bools

NOISE = b'"\t\r '
NEWLINE, DOT, MINUS, EIGHT, ZERO = 10, 46, 45, 56, np.uint8(48)
# A block's columns stay in the processor's cache.
BLOCK = 1 << 16
WIDEST = 40
LARGEST = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """`value` where `good`; 0 elsewhere."""

    value: I64
    good: Bools


def parse(blob: bytes, places: int = 3) -> Parsed:
    """Parse newline-separated tokens (no newline at the end). Quotes, tabs and spaces around them are ignored."""
    text = blob.translate(None, NOISE) + b"\n"
    raw = np.frombuffer(text, np.uint8)
    stop = np.flatnonzero(raw == NEWLINE)
    start = np.empty_like(stop)
    start[0] = 0
    start[1:] = stop[:-1] + 1
    value = np.zeros(len(stop), np.int64)
    good = np.zeros(len(stop), np.bool_)
    for low in range(0, len(stop), BLOCK):
        part = slice(low, min(low + BLOCK, len(stop)))
        _block(raw, start[part], stop[part], places, value[part], good[part])
    for row in np.flatnonzero(~good):
        number = _slow(text[start[row] : stop[row]], places)
        if number is not None:
            value[row], good[row] = number, True
    return Parsed(value=value, good=good)


def _block(raw: np.ndarray, start: I64, stop: I64, places: int, value: I64, good: Bools) -> None:
    """Plain tokens of one block, filled into `value` and `good`: grouped by length, then by the dot's place."""
    length = stop - start
    for width in np.unique(length).tolist():
        if not 0 < width <= WIDEST:
            continue
        rows = np.flatnonzero(length == width)
        # One row per character place, so that every step below runs over neighbours in memory.
        cells = np.ascontiguousarray(sliding_window_view(raw, width)[start[rows]].T)
        while len(rows):
            # Most columns are written in one form: take that of the first token, then what is left.
            lead = cells[:, 0].tobytes()
            dot = lead.find(b".")
            minus = lead.startswith(b"-")
            same = (cells[0] == MINUS) == minus
            if dot >= 0:
                same &= cells[dot] == DOT
            _same_form(cells, dot if dot >= 0 else width, 1 if minus else 0, places, rows, same, value, good)
            rows, cells = rows[~same], cells[:, ~same]


def _same_form(
    cells: np.ndarray, dot: int, first: int, places: int, rows: I64, same: Bools, value: I64, good: Bools
) -> None:
    """Fill in the tokens marked `same`: dot in place `dot`, digits from place `first`."""
    columns = [c for c in range(first, len(cells)) if c != dot]
    whole = sum(c < dot for c in columns)
    # Longer and the value could leave int64, which ends at 9.2e18; such tokens go the slow way, which says so.
    if not columns or whole + places > 19:
        return
    taken = columns[: whole + places]
    plain = same & (cells[first] <= EIGHT) if whole + places == 19 else same.copy()
    total = np.zeros(len(rows), np.int64)
    for c in columns:
        digit = cells[c] - ZERO
        plain &= digit <= 9
        if c <= taken[-1]:
            total *= 10
            total += digit
    total *= 10 ** (whole + places - len(taken))
    if len(columns) > len(taken):
        total += cells[columns[len(taken)]] - ZERO >= 5
    at = rows[plain]
    value[at] = -total[plain] if first else total[plain]
    good[at] = True


def _slow(token: bytes, places: int) -> int | None:
    """One odd token (an exponent, a plus sign, twenty digits)."""
    if not token or len(token) > 64:
        return None
    try:
        number = Decimal(token.decode("ascii"))
        if not number.is_finite() or number.adjusted() > 30:
            return None
        # A half goes away from zero, as on the fast way.
        scaled = int((number * 10**places).to_integral_value(rounding=ROUND_HALF_UP))
    except (InvalidOperation, UnicodeDecodeError, ValueError):
        return None
    return scaled if abs(scaled) <= LARGEST else None


def from_floats(value: np.ndarray) -> I64:
    """Microseconds read as float64 to nanoseconds; exact for up to three decimals below 2**43 us (101 days)."""
    whole = np.floor(value)
    out: I64 = whole.astype(np.int64) * 1000 + np.rint((value - whole) * 1000).astype(np.int64)
    return out


# Beyond this many microseconds a float64 no longer tells thousandths apart.
FLOAT_LIMIT = float(1 << 43)
