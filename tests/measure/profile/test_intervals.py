"""Busy, overlap and idle against a reference that counts nanosecond by nanosecond."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seatrial.measure.profile.analyse import works_of
from seatrial.measure.profile.events import EventTable, Kind, Track
from seatrial.measure.profile.intervals import covered, gaps, overlap, union
from seatrial.measure.profile.summary import times


def cells(rows):
    """The set of nanoseconds that the intervals cover: the slowest and plainest way."""
    return {t for start, end in rows for t in range(start, end)}


def random_rows(chance, many, span):
    """Nested, overlapping, touching, zero-length, out of order."""
    rows = []
    for _ in range(many):
        start = chance.randrange(span)
        rows.append((start, start + chance.choice([0, 0, 1, 2, chance.randrange(1, 12), chance.randrange(1, span)])))
        if rows and chance.random() < 0.3:
            rows.append(chance.choice(rows))
        if chance.random() < 0.3:
            a, b = chance.choice(rows)
            rows.append((b, b + 3))
            rows.append((a, a + (b - a) // 2))
    chance.shuffle(rows)
    return rows


def arrays(rows):
    return np.array([a for a, _ in rows], np.int64), np.array([b for _, b in rows], np.int64)


@pytest.mark.parametrize("seed", range(20))
def test_busy_overlap_and_idle_equal_the_brute_force_count_on_random_traces(seed):
    chance = random.Random(seed)
    for _ in range(50):
        base = chance.choice([0, 4328559894992449, 1763600000000050500])
        kinds = [Kind.KERNEL, Kind.COMMUNICATION, Kind.COPY, Kind.MEMSET, Kind.DEVICE_WAIT, Kind.RUNTIME]
        devices = [0, 0, 3]
        tracks = [Track(pid=d, tid=i, device=d) for i, d in enumerate(devices)] + [Track(pid=9, tid=9)]
        rows = random_rows(chance, chance.randrange(1, 14), 60)
        kind = [chance.choice(kinds) for _ in rows]
        track = [3 if k is Kind.RUNTIME else chance.randrange(3) for k in kind]
        start, end = arrays(rows)
        n = len(rows)
        table = EventTable(
            start=start + base,
            dur=end - start,
            name=np.zeros(n, np.int32),
            kind=np.array(kind, np.uint8),
            track=np.array(track, np.int32),
            correlation=np.full(n, -1, np.int64),
            shape=np.full(n, -1, np.int32),
            names=["k"],
            tracks=tracks,
        )
        work_kinds = {Kind.KERNEL, Kind.COMMUNICATION, Kind.COPY, Kind.MEMSET}
        found = {w.device: times(w) for w in works_of(table)}
        expected = {devices[t] for k, t in zip(kind, track, strict=True) if k in work_kinds}
        assert set(found) == expected
        for device, its in found.items():
            mine = [
                (k, r) for k, t, r in zip(kind, track, rows, strict=True) if k in work_kinds and devices[t] == device
            ]
            busy = cells(r for _, r in mine)
            compute = cells(r for k, r in mine if k is Kind.KERNEL)
            communication = cells(r for k, r in mine if k is Kind.COMMUNICATION)
            span = max(r[1] for _, r in mine) - min(r[0] for _, r in mine)
            assert its.busy_ns == len(busy)
            assert its.span_ns == span
            assert its.idle_ns == span - len(busy)
            assert its.compute_ns == len(compute)
            assert its.communication_ns == len(communication)
            assert its.overlap_ns == len(compute & communication)
            assert its.exposed_communication_ns == len(communication - compute)


def test_union_overlap_gaps_and_windows_agree_with_the_cells():
    chance = random.Random(5)
    for _ in range(300):
        a, b = random_rows(chance, 8, 40), random_rows(chance, 8, 40)
        ua, ub = union(*arrays(a)), union(*arrays(b))
        assert cells(zip(ua.start.tolist(), ua.end.tolist(), strict=True)) == cells(a)
        assert overlap(ua, ub) == len(cells(a) & cells(b))
        free = gaps(ua, 5, 50)
        assert cells(zip(free.start.tolist(), free.end.tolist(), strict=True)) == set(range(5, 50)) - cells(a)
        windows = [(s, s + chance.randrange(15)) for s in range(0, 60, 7)]
        expected = [len(cells(a) & set(range(*w))) for w in windows]
        assert covered(ua, *arrays(windows)).tolist() == expected


def test_no_interval_at_all_covers_nothing():
    none = union(np.empty(0, np.int64), np.empty(0, np.int64))
    assert none.total() == 0
    assert gaps(none, 3, 9).total() == 6
    assert covered(none, np.array([1]), np.array([5])).tolist() == [0]
