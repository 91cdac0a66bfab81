"""Sets of half-open intervals [start, end) in integer nanoseconds: union, overlap, gaps. Exact, no floats.

All take starts and ends in any order; intervals may nest, overlap, touch or be empty. Cost is one sort.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatrial.measure.profile.events import I64


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Disjoint intervals in order, none touching the next; zero-length input has no part in them."""

    start: I64
    end: I64

    def total(self) -> int:
        """Covered nanoseconds."""
        return int((self.end - self.start).sum())


def union(start: I64, end: I64) -> Segments:
    """The union of intervals."""
    keep = end > start
    if not keep.all():
        start, end = start[keep], end[keep]
    if not len(start):
        return Segments(start=np.empty(0, np.int64), end=np.empty(0, np.int64))
    if not (start[1:] >= start[:-1]).all():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    reach = np.maximum.accumulate(end)
    first = np.empty(len(start), np.bool_)
    first[0] = True
    np.greater(start[1:], reach[:-1], out=first[1:])
    at = np.flatnonzero(first)
    last = np.append(at[1:], len(start)) - 1
    return Segments(start=start[at], end=reach[last])


def join(a: Segments, b: Segments) -> Segments:
    """What either covers."""
    return union(np.concatenate([a.start, b.start]), np.concatenate([a.end, b.end]))


def overlap(a: Segments, b: Segments) -> int:
    """Nanoseconds that both cover."""
    return a.total() + b.total() - join(a, b).total()


def gaps(segments: Segments, first: int, last: int) -> Segments:
    """What `segments` leave uncovered of [first, last)."""
    start = np.concatenate([np.array([first], np.int64), segments.end])
    end = np.concatenate([segments.start, np.array([last], np.int64)])
    start, end = np.maximum(start, first), np.minimum(end, last)
    keep = end > start
    return Segments(start=start[keep], end=end[keep])


def covered(segments: Segments, start: I64, end: I64) -> I64:
    """For each window [start, end): the nanoseconds of it that `segments` cover. Windows may overlap each other."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(segments.end - segments.start)])

    def upto(point: I64) -> I64:
        """Covered nanoseconds before each point."""
        index = np.searchsorted(segments.start, point, side="right")
        full = before[index]
        if not len(segments.start):
            return full
        previous = np.maximum(index - 1, 0)
        excess = np.where(index > 0, np.maximum(segments.end[previous] - point, 0), 0)
        out: I64 = full - excess
        return out

    return upto(end) - upto(start)
