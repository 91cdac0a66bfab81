"""Which event lies within which on a host thread: parents, self times, and what ran innermost at every instant.

Events of one track are calls, so they nest; a child that outlives its parent by a rounding error is cut at its end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatrial.measure.profile.events import I64


@dataclass(frozen=True, kw_only=True)
class Nest:
    """`parent` is a row number or -1, `self_ns` the duration less that of direct children; both in the rows' order."""

    parent: I64
    self_ns: I64
    depth: I64


@dataclass(frozen=True, kw_only=True)
class Innermost:
    """Disjoint stretches in order of time, each with the row of the event that ran innermost."""

    start: I64
    end: I64
    row: I64


def nest(start: I64, dur: I64, track: np.ndarray) -> Nest:
    """Nesting of all rows, track by track."""
    n = len(start)
    parent = np.full(n, -1, np.int64)
    depth = np.zeros(n, np.int64)
    end = start + dur
    order = np.lexsort((-end, start, track))
    order = order[dur[order] > 0]
    if len(order):
        breaks = np.flatnonzero(np.diff(track[order])) + 1
        for rows in np.split(order, breaks):
            closed = np.searchsorted(np.sort(end[rows]), start[rows], side="right")
            level = np.arange(len(rows)) - closed
            depth[rows] = level
            # Rows by level, each level in order of time: calls that only overlap can make as many levels as rows.
            by_level = np.argsort(level, kind="stable")
            at_level = np.searchsorted(level[by_level], np.arange(int(level.max()) + 2))
            for d in range(1, len(at_level) - 1):
                outer = by_level[at_level[d - 1] : at_level[d]]
                inner = by_level[at_level[d] : at_level[d + 1]]
                if len(inner) and len(outer):
                    at = np.searchsorted(outer, inner) - 1
                    parent[rows[inner]] = np.where(at >= 0, rows[outer[np.maximum(at, 0)]], -1)
    own = dur.astype(np.int64).copy()
    has = parent >= 0
    inside = np.minimum(end[has], end[parent[has]]) - start[has]
    np.subtract.at(own, parent[has], np.maximum(inside, 0))
    return Nest(parent=parent, self_ns=np.maximum(own, 0), depth=depth)


def innermost(start: I64, dur: I64, nested: Nest) -> Innermost:
    """What ran innermost when, for the rows of ONE track."""
    rows = np.flatnonzero(dur > 0)
    end = start[rows] + dur[rows]
    depth = nested.depth[rows]
    time = np.concatenate([start[rows], end])
    # At one instant ends come before starts, inner ends before outer ones, outer starts before inner ones.
    rank = np.concatenate([depth + 1, -1 - depth])
    label = np.concatenate([rows, nested.parent[rows]])
    order = np.lexsort((rank, time))
    time, label = time[order], label[order]
    if not len(time):
        none = np.empty(0, np.int64)
        return Innermost(start=none, end=none, row=none)
    keep = (time[1:] > time[:-1]) & (label[:-1] >= 0)
    return Innermost(start=time[:-1][keep], end=time[1:][keep], row=label[:-1][keep])


def share_out(stretches: Innermost, label: np.ndarray, first: I64, last: I64, labels: int) -> I64:
    """Nanoseconds per label that the stretches cover within the windows [first, last), sorted and disjoint."""
    total = np.zeros(labels, np.int64)
    if not len(first) or not len(stretches.start):
        return total
    low = np.searchsorted(last, stretches.start, side="right")
    high = np.searchsorted(first, stretches.end, side="left")
    many = np.maximum(high - low, 0)
    which = np.repeat(np.arange(len(many)), many)
    step = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
    window = low[which] + step
    inside = np.minimum(stretches.end[which], last[window]) - np.maximum(stretches.start[which], first[window])
    np.add.at(total, label[stretches.row[which]], np.maximum(inside, 0))
    return total
