"""Plots as data: lines and dots on two logarithmic axes, and one stacked bar. The template draws them.

Places are pixels of a fixed view (`WIDTH` x `HEIGHT`, the frame inside it), so that the template computes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from seatrial.core.record import Record

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 42
STEPS = (1, 2, 5)
# The view and the frame in it, for the template.
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}


class At(Record):
    """A tick: its place in pixels and its words."""

    at: float
    label: str


class Dot(Record):
    """`label` is told on hovering and by a screen reader; `name` is written beside the dot, "" for none."""

    x: float
    y: float
    label: str
    name: str = ""
    hollow: bool = False
    end: bool = False


class Row(Record):
    """One series. `tone` is its number among the colours, `line` the points of its polyline as SVG writes them."""

    name: str
    tone: int
    dots: tuple[Dot, ...] = ()
    line: str = ""


class Plot(Record):
    """`key` says what line, dot and ring mean."""

    title: str
    summary: str
    across: str
    up: str
    x_ticks: tuple[At, ...]
    y_ticks: tuple[At, ...]
    rows: tuple[Row, ...]
    key: str = ""
    kind: Literal["plot"] = "plot"


class Piece(Record):
    """A part of a bar, in pixels; `share` of the whole in words."""

    name: str
    x: float
    width: float
    tone: int
    words: str


class Bar(Record):
    """One device's memory from end to end. `rule`: the end of what the engine may use. `unknown` has no place."""

    title: str
    summary: str
    pieces: tuple[Piece, ...]
    unknown: tuple[str, ...]
    rule: float | None
    rule_label: str
    kind: Literal["bar"] = "bar"


class Axis:
    """A logarithmic axis over positive numbers, `low` to `high` a little beyond them, on pixels `start` to `end`."""

    def __init__(self, numbers: Iterable[float], start: float, end: float) -> None:
        known = [n for n in numbers if n > 0 and math.isfinite(n)] or [1.0]
        low, high = math.log10(min(known)), math.log10(max(known))
        # At least a decade, so that what hardly changes looks so.
        beyond = max(0.12, (1 - (high - low)) / 2)
        self.low, self.high = low - beyond, high + beyond
        self.start, self.end = start, end

    def at(self, number: float) -> float:
        share = (math.log10(number) - self.low) / (self.high - self.low) if number > 0 else 0.0
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 2)

    def ticks(self, unit: str = "", most: int = 6) -> tuple[At, ...]:
        """Powers of ten, with 2 and 5 between them where there are few."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        fine = [s * 10.0**d for d in decades for s in STEPS]
        coarse = [10.0**d for d in decades]
        for numbers in (fine, coarse, coarse[::2], coarse[::3]):
            inside = [n for n in numbers if self.low <= math.log10(n) <= self.high]
            if len(inside) <= most:
                break
        return tuple(At(at=self.at(n), label=short(n, unit)) for n in inside)


def short(number: float, unit: str = "") -> str:
    """`20 G`, `0.5 m`: a number with its SI prefix, then the unit."""
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "µ"), (-9, "n")):
        # From here on it would be written as a thousand of the smaller unit.
        if abs(number) >= 10.0**power * 0.9995 or power == -9:
            figure = f"{number / 10.0**power:.3g}"
            return f"{figure} {prefix}{unit}".rstrip() if unit or prefix else figure
    return str(number)


def across(numbers: Iterable[float]) -> Axis:
    return Axis(numbers, LEFT, WIDTH - RIGHT)


def up(numbers: Iterable[float]) -> Axis:
    return Axis(numbers, HEIGHT - BOTTOM, TOP)


def polyline(pairs: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in pairs)
