"""Decimal text to integers, many at once and exactly.

Absolute microseconds (1763600000000050.500) do not fit a float64, whose step there is 0.25 us. In: tokens as written.
Out: int64 in units of 10**-places, rounded to nearest; a token that is no plain decimal is marked, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np

from seatrial.measure.profile.events import I64, Bools

NOISE = b'"\t\r '
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
    stop = np.flatnonzero(raw == 10)
    start = np.concatenate([np.zeros(1, np.int64), stop[:-1] + 1])
    n = len(stop)
    value = np.zeros(n, np.int64)
    good = np.zeros(n, np.bool_)
    length = stop - start
    negative = np.zeros(n, np.bool_)
    some = length > 0
    negative[some] = raw[start[some]] == 45
    begin = start + negative
    digit = (raw >= 48) & (raw <= 57)
    digits_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(digit)])
    digits = digits_before[stop] - digits_before[begin]
    dots = np.flatnonzero(raw == 46)
    dots_before = np.searchsorted(dots, begin)
    dot_count = np.searchsorted(dots, stop) - dots_before
    width = stop - begin
    plain = (digits + dot_count == width) & (dot_count <= 1) & (digits > 0)
    at = np.where(dot_count == 1, dots[np.minimum(dots_before, len(dots) - 1)] if len(dots) else stop, stop)
    whole = at - begin
    fraction = np.maximum(stop - at - 1, 0)
    # More than this and the value leaves int64; such tokens go the slow way, which says so.
    plain &= whole <= 18 - places
    rows = np.flatnonzero(plain)
    shape = whole[rows] * 64 + np.minimum(fraction[rows], 63)
    for key in np.unique(shape):
        group = rows[shape == key]
        before, after = int(key) // 64, int(key) % 64
        total = _digits(raw, begin[group], before)
        taken = min(after, places)
        total = total * 10**taken + _digits(raw, at[group] + 1, taken)
        total *= 10 ** (places - taken)
        if after > places:
            total += raw[at[group] + 1 + places] >= 53
        value[group] = total
    value[negative] *= -1
    good[rows] = True
    for row in np.flatnonzero(~plain):
        number = _slow(text[start[row] : stop[row]], places)
        if number is not None:
            value[row], good[row] = number, True
    return Parsed(value=value, good=good)


def _digits(raw: np.ndarray, begin: I64, count: int) -> I64:
    total = np.zeros(len(begin), np.int64)
    for step in range(count):
        total *= 10
        total += raw[begin + step]
        total -= 48
    return total


def _slow(token: bytes, places: int) -> int | None:
    """One odd token (an exponent, a plus sign, twenty digits)."""
    if not token or len(token) > 64:
        return None
    try:
        number = Decimal(token.decode("ascii"))
        if not number.is_finite() or number.adjusted() > 30:
            return None
        scaled = int((number * 10**places).to_integral_value())
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
