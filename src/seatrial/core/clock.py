"""A stopwatch for a step's timeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from seatrial.core.step import Span


class Stopwatch:
    """Collects spans relative to its own start; monotonic clock."""

    def __init__(self) -> None:
        self._origin = time.monotonic()
        self._spans: list[Span] = []

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._origin

    @contextmanager
    def span(self, name: str, whose: Literal["engine", "seatrial"]) -> Iterator[None]:
        """Time a block; recorded also when the block raises."""
        start = self.now()
        try:
            yield
        finally:
            self.add(name, start, self.now() - start, whose)

    def add(self, name: str, start_s: float, duration_s: float, whose: Literal["engine", "seatrial"]) -> None:
        self._spans.append(Span(name=name, start_s=start_s, duration_s=duration_s, whose=whose))

    def spans(self) -> tuple[Span, ...]:
        return tuple(sorted(self._spans, key=lambda s: s.start_s))
