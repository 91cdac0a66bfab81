"""The first answer about one device: covered times, the top kernels, the families. All by union, in integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatrial.measure.profile.events import I64, EventTable, Kind
from seatrial.measure.profile.families import FAMILIES, OTHER, family_of
from seatrial.measure.profile.intervals import Segments, overlap, union
from seatrial.measure.profile.records import CommunicationRow, FamilyRow, NameRow, ShapeCalls, Times

ORDER = [*(f.name for f in FAMILIES), OTHER]
INDEX = {name: i for i, name in enumerate(ORDER)}
# Kept of each kernel; a decoding step has one shape a kernel, a mixed capture a few dozen.
MOST_SHAPES = 16


@dataclass(kw_only=True)
class Work:
    """The events that keep one device busy, and what was worked out about them once."""

    table: EventTable
    device: int
    family: np.ndarray
    self_ns: I64
    busy: Segments
    compute: Segments
    communication: Segments
    copies: Segments
    first: int
    last: int

    @property
    def end(self) -> I64:
        return self.table.start + self.table.dur

    def segments(self, rows: np.ndarray) -> Segments:
        return union(self.table.start[rows], self.table.start[rows] + self.table.dur[rows])


def families_of(table: EventTable) -> np.ndarray:
    """The family's number in ORDER of every name of the table."""
    return np.array([INDEX[family_of(name)] for name in table.names] or [0], np.int16)


def work_of(table: EventTable, device: int, family_by_name: np.ndarray, self_ns: I64) -> Work:
    """`table` holds this device's work and nothing else, at least one row."""
    end = table.start + table.dur
    family = family_by_name[table.name]
    communication = table.kind == Kind.COMMUNICATION
    copies = table.of(Kind.COPY, Kind.MEMSET)
    if device < 0:
        communication = family == INDEX["communication"]
        copies = family == INDEX["copy"]
    # On the host an operator lies within another, so what is not communication is compute, copies included.
    compute = ~communication if device < 0 else ~(communication | copies)

    def covered(rows: np.ndarray) -> Segments:
        return union(table.start[rows], end[rows])

    return Work(
        table=table,
        device=device,
        family=family,
        self_ns=self_ns,
        busy=union(table.start, end),
        compute=covered(compute),
        communication=covered(communication),
        copies=covered(copies),
        first=int(table.start.min()),
        last=int(end.max()),
    )


def times(work: Work) -> Times:
    both = overlap(work.compute, work.communication)
    busy = work.busy.total()
    communication = work.communication.total()
    return Times(
        span_ns=work.last - work.first,
        busy_ns=busy,
        idle_ns=work.last - work.first - busy,
        compute_ns=work.compute.total(),
        communication_ns=communication,
        overlap_ns=both,
        exposed_communication_ns=communication - both,
        copy_ns=work.copies.total(),
    )


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """Per label that occurs: rows in `order` from `begin`, calls and sums."""

    label: np.ndarray
    order: I64
    begin: I64
    calls: I64
    total: I64
    own: I64
    longest: I64


def grouped(label: np.ndarray, dur: I64, own: I64) -> Grouped:
    """Exact integer sums per label; a label that does not occur has no row."""
    order = np.argsort(label, kind="stable")
    ordered = label[order]
    begin = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(np.diff(ordered)) + 1])
    if not len(order):
        none = np.empty(0, np.int64)
        return Grouped(label=none, order=none, begin=none, calls=none, total=none, own=none, longest=none)
    return Grouped(
        label=ordered[begin],
        order=order,
        begin=begin,
        calls=np.diff(np.append(begin, len(order))),
        total=np.add.reduceat(dur[order], begin),
        own=np.add.reduceat(own[order], begin),
        longest=np.maximum.reduceat(dur[order], begin),
    )


def name_rows(
    table: EventTable, family: np.ndarray, own: I64, busy_ns: int, top: int
) -> tuple[tuple[NameRow, ...], int]:
    """The `top` names by self time, and how many names there are."""
    by = grouped(table.name, table.dur, own)
    rows = []
    for i in np.lexsort((by.label, -by.own))[:top]:
        stop = by.begin[i] + by.calls[i]
        mine = by.order[by.begin[i] : stop]
        covered = union(table.start[mine], table.start[mine] + table.dur[mine]).total()
        shapes, kinds = _shapes(table, mine)
        rows.append(
            NameRow(
                name=table.names[int(by.label[i])],
                family=ORDER[int(family[mine[0]])],
                calls=int(by.calls[i]),
                total_ns=int(by.total[i]),
                self_ns=int(by.own[i]),
                mean_ns=float(by.total[i]) / int(by.calls[i]),
                longest_ns=int(by.longest[i]),
                covered_ns=covered,
                share=covered / busy_ns if busy_ns else 0.0,
                shapes=shapes,
                shape_kinds=kinds,
            )
        )
    return tuple(rows), len(by.label)


def _shapes(table: EventTable, rows: np.ndarray) -> tuple[tuple[ShapeCalls, ...], int]:
    """The most frequent input shapes of these events, and how many there are; nothing if none is recorded."""
    shape = table.shape[rows]
    if len(table.shapes) < len(rows):
        # Counting is a pass over the rows, where sorting them would cost more than all else of a large table.
        many = np.bincount(shape + 1)
        number = np.flatnonzero(many) - 1
        calls = many[number + 1]
    else:
        number, calls = np.unique(shape, return_counts=True)
    if not len(number) or number[-1] < 0:
        return (), 0
    order = np.lexsort((number, -calls))[:MOST_SHAPES]
    said = [table.shapes[int(number[i])] if number[i] >= 0 else "" for i in order]
    return tuple(ShapeCalls(shapes=s, calls=int(calls[i])) for s, i in zip(said, order, strict=True)), len(number)


def family_rows(work: Work, rows: np.ndarray | None = None) -> tuple[FamilyRow, ...]:
    """The families by covered time, of all events or of these rows."""
    family = work.family if rows is None else work.family[rows]
    start = work.table.start if rows is None else work.table.start[rows]
    dur = work.table.dur if rows is None else work.table.dur[rows]
    own = work.self_ns if rows is None else work.self_ns[rows]
    whole = union(start, start + dur).total()
    out = []
    for number in np.unique(family):
        mine = family == number
        # Nested operators cover their children: on the host a family's time is its self time.
        covered = int(own[mine].sum()) if work.device < 0 else union(start[mine], start[mine] + dur[mine]).total()
        covered = min(covered, whole)
        out.append(
            FamilyRow(
                family=ORDER[int(number)],
                calls=int(mine.sum()),
                total_ns=int(dur[mine].sum()),
                covered_ns=covered,
                share=covered / whole if whole else 0.0,
            )
        )
    return tuple(sorted(out, key=lambda r: (-r.covered_ns, r.family)))


def communication_rows(work: Work) -> tuple[CommunicationRow, ...]:
    """Every collective by name, with the part that compute did not hide."""
    chosen = np.flatnonzero(work.family == INDEX["communication"])
    table = work.table
    out = []
    for name in np.unique(table.name[chosen]):
        mine = chosen[table.name[chosen] == name]
        own = work.segments(mine)
        out.append(
            CommunicationRow(
                name=table.names[int(name)],
                calls=len(mine),
                total_ns=int(table.dur[mine].sum()),
                covered_ns=own.total(),
                exposed_ns=own.total() - overlap(own, work.compute),
            )
        )
    return tuple(sorted(out, key=lambda r: -r.exposed_ns)[:200])
