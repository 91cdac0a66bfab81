"""Bubbles: the time a stream stands still between two steps, or between two chosen events, and who did what then.

Pairs are one to one in order of time and none is dropped: a pair whose next event began before the previous ended
counts as overlapping with a gap of 0, an event without a partner as unpaired. What the host and the other streams did
is by time covered, not by number of events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from seatrial.measure.profile.dispatch import stream_name
from seatrial.measure.profile.events import I64, EventTable, Kind
from seatrial.measure.profile.intervals import Segments, covered, union
from seatrial.measure.profile.nesting import Innermost, innermost, nest, share_out
from seatrial.measure.profile.records import BubbleRow, Doing

NOTHING = "(nothing recorded)"
SHOWN = 12
NO_TIMES = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Ends of the previous and starts of the next events, pair by pair."""

    end: I64
    start: I64
    unpaired: int


def pair_steps(table: EventTable, rows: I64, step_of: I64) -> Pairs:
    """Between consecutive steps of the same stream: last end within step i, first start within step i + 1.

    `step_of` is the step of every event of the table, -1 for one before the first. A step without an event on this
    stream is passed over.
    """
    start, end, of = table.start[rows], table.start[rows] + table.dur[rows], step_of[rows]
    inside = of >= 0
    of, start, end = of[inside], start[inside], end[inside]
    if not len(of):
        none = np.empty(0, np.int64)
        return Pairs(end=none, start=none, unpaired=0)
    order = np.lexsort((start, of))
    of, start, end = of[order], start[order], end[order]
    at = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(np.diff(of)) + 1])
    firsts = start[at]
    lasts = np.maximum.reduceat(end, at)
    return Pairs(end=lasts[:-1], start=firsts[1:], unpaired=0)


def pair_events(table: EventTable, rows: I64, previous: str, following: str) -> Pairs:
    """From each event that matches `previous` to the next one that matches `following`, before another `previous`."""
    before, after = re.compile(previous), re.compile(following)
    is_before = np.array([bool(before.search(n)) for n in table.names] or [False], np.bool_)[table.name[rows]]
    is_after = np.array([bool(after.search(n)) for n in table.names] or [False], np.bool_)[table.name[rows]]
    start, end = table.start[rows], table.start[rows] + table.dur[rows]
    a = np.flatnonzero(is_before)
    a = a[np.argsort(start[a], kind="stable")]
    b = np.flatnonzero(is_after)
    b = b[np.argsort(start[b], kind="stable")]
    if not len(a) or not len(b):
        none = np.empty(0, np.int64)
        return Pairs(end=none, start=none, unpaired=len(a) + len(b))
    # The k-th `previous` owns every `following` that begins after it and not after the next `previous`.
    candidate = np.searchsorted(start[b], start[a], side="right")
    limit = np.append(start[a][1:], np.iinfo(np.int64).max)
    has = candidate < len(b)
    has[has] &= start[b][candidate[has]] <= limit[has]
    mine = candidate[has]
    fresh = np.ones(len(mine), np.bool_)
    fresh[1:] = mine[1:] != mine[:-1]
    chosen_a, chosen_b = a[has][fresh], b[mine[fresh]]
    return Pairs(end=end[chosen_a], start=start[chosen_b], unpaired=len(a) + len(b) - 2 * len(chosen_a))


def bubble_row(
    stream: str, boundary: str, pairs: Pairs, host: tuple[Doing, ...], others: tuple[Doing, ...]
) -> BubbleRow:
    gap = np.maximum(pairs.start - pairs.end, 0)
    return BubbleRow(
        stream=stream,
        boundary=boundary,
        pairs=len(gap),
        overlapping=int((pairs.start < pairs.end).sum()),
        unpaired=pairs.unpaired,
        total_ns=int(gap.sum()),
        least_ns=int(gap.min()),
        median_ns=int(np.median(gap)),
        mean_ns=float(gap.mean()),
        p90_ns=int(np.percentile(gap, 90, method="higher")),
        longest_ns=int(gap.max()),
        host=host,
        other_streams=others,
    )


def find_bubbles(
    table: EventTable, work: EventTable, step_of: I64, boundary: tuple[str, str] | None
) -> tuple[BubbleRow, ...]:
    """One row per stream that has at least one pair; `work` is one device's work, `table` the whole rank's."""
    found: list[tuple[int, str, Pairs, Segments]] = []
    for track in np.unique(work.track).tolist():
        rows = np.flatnonzero(work.track == track)
        if boundary is not None:
            pairs = pair_events(work, rows, *boundary)
            name = f"{boundary[0]} -> {boundary[1]}"
        else:
            pairs = pair_steps(work, rows, step_of)
            name = "step -> next step"
        if len(pairs.end):
            open_ = pairs.start > pairs.end
            found.append((track, name, pairs, union(pairs.end[open_], pairs.start[open_])))
    every = union(*(np.concatenate([getattr(w, edge) for *_, w in found] or [NO_TIMES]) for edge in ("start", "end")))
    host = _host_stretches(table, every)
    out = []
    for track, name, pairs, window in found:
        doing = _host_doing(table, host, window)
        others = _others_doing(work, track, window.start, window.end)
        out.append(bubble_row(stream_name(work, track), name, pairs, doing, others))
    return tuple(sorted(out, key=lambda r: -r.total_ns)[:64])


def _host_stretches(table: EventTable, windows: Segments) -> list[tuple[I64, Innermost]]:
    """Per host thread: its rows within the windows and what ran innermost.

    An event around one within a window reaches into it too, so leaving out the others keeps the nesting. Step
    annotations say nothing about what was done.
    """
    rows = np.flatnonzero(table.of(Kind.CPU_OP, Kind.RUNTIME, Kind.PYTHON))
    rows = rows[covered(windows, table.start[rows], table.start[rows] + table.dur[rows]) > 0]
    # The thread that runs operators and launches comes first: a thread that only waits covers every bubble too.
    active = np.bincount(table.track[table.of(Kind.CPU_OP, Kind.RUNTIME)], minlength=len(table.tracks))
    tracks = sorted(np.unique(table.track[rows]).tolist(), key=lambda track: -int(active[track]))
    out: list[tuple[I64, Innermost]] = []
    for track in tracks:
        mine = rows[table.track[rows] == track]
        nested = nest(table.start[mine], table.dur[mine], table.track[mine])
        out.append((mine, innermost(table.start[mine], table.dur[mine], nested)))
    return out


def _host_doing(table: EventTable, host: list[tuple[I64, Innermost]], window: Segments) -> tuple[Doing, ...]:
    """The first of the host's threads that did anything within the windows, by innermost event."""
    whole = window.total()
    best: np.ndarray | None = None
    for rows, stretches in host:
        best = share_out(stretches, table.name[rows], window.start, window.end, len(table.names))
        if best.any():
            break
    if best is None or not whole:
        return ()
    top = [int(i) for i in np.argsort(-best, kind="stable")[:SHOWN] if best[i] > 0]
    rest = whole - int(best.sum())
    out = [Doing(name=table.names[i], ns=int(best[i]), share=int(best[i]) / whole) for i in top]
    if rest > 0:
        out.append(Doing(name=NOTHING, ns=rest, share=rest / whole))
    return tuple(out)


def _others_doing(work: EventTable, track: int, first: I64, last: I64) -> tuple[Doing, ...]:
    whole = int((last - first).sum())
    out = []
    for other in np.unique(work.track).tolist():
        if other == track or not whole:
            continue
        rows = work.track == other
        busy = union(work.start[rows], work.start[rows] + work.dur[rows])
        spent = int(covered(busy, first, last).sum())
        if spent:
            out.append(Doing(name=stream_name(work, other), ns=spent, share=spent / whole))
    return tuple(sorted(out, key=lambda d: -d.ns)[:SHOWN])
