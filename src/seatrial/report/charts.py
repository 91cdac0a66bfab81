"""Charts as data: lanes with marks on a common scale, and a curve. The writers draw them; nothing here is HTML.

Places are fractions of the axis, 0 at its left (or lower) end. What a chart shows is always in a table beside it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from seatrial.core.record import Record


class Tick(Record):
    at: float
    label: str


class Mark(Record):
    """A thing seen at a place; `label` says it in words."""

    at: float
    is_good: bool
    label: str


class Lane(Record):
    """`reached` is how far the bar goes, None for no bar."""

    label: str
    marks: tuple[Mark, ...]
    reached: float | None = None


class Lanes(Record):
    """`key` says what bar, dot and cross mean. `rules` are places that all lanes share, drawn through them."""

    title: str
    axis: str
    ticks: tuple[Tick, ...]
    lanes: tuple[Lane, ...]
    rules: tuple[Tick, ...] = ()
    key: str = ""
    kind: Literal["lanes"] = "lanes"


class Point(Record):
    x: float
    y: float


class Curve(Record):
    """One line. `across` and `up` are the axes' ends in words, from and to."""

    title: str
    points: tuple[Point, ...]
    across: tuple[str, str]
    up: tuple[str, str]
    summary: str
    kind: Literal["curve"] = "curve"


class LogScale:
    """Places of positive numbers on a scale of powers of two; the ends are a little beyond the numbers."""

    def __init__(self, numbers: Iterable[float]) -> None:
        known = [n for n in numbers if n > 0] or [1.0]
        self.low = math.floor(math.log2(min(known)) - 0.3)
        self.high = max(self.low + 1, math.ceil(math.log2(max(known)) + 0.3))

    def at(self, number: float) -> float:
        place = (math.log2(max(number, 2.0**self.low)) - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, place))

    def ticks(self, most: int = 7) -> tuple[Tick, ...]:
        powers = range(self.low, self.high + 1)
        step = max(1, math.ceil(len(powers) / most))
        return tuple(
            Tick(at=self.at(2.0**p), label=f"{2**p:,}") for p in powers if p >= 0 and (p - self.low) % step == 0
        )


def curve_points(pairs: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """Both axes begin at zero, so that a rise is seen for what it is."""
    right = max((x for x, _ in pairs), default=0.0) or 1.0
    top = max((y for _, y in pairs), default=0.0) or 1.0
    return tuple(Point(x=x / right, y=y / top) for x, y in pairs)
