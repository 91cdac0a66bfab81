"""The one event model for every profiler: columns of numpy, all times in int64 nanoseconds.

A reader fills an `EventTable` and the `Trace` around it; everything after it knows no file format. `start` and `dur`
are absolute on the trace's own clock; `Trace.offset_ns` is what was added to align it with the other ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seatrial.core.finding import Finding
from seatrial.measure.profile.vendor.tables import VendorTables

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]


class Kind(IntEnum):
    """What an event is. DEVICE kinds occupy a device stream; the others are the host's or describe."""

    KERNEL = 0
    COMMUNICATION = 1
    COPY = 2
    MEMSET = 3
    DEVICE_WAIT = 4
    CPU_OP = 5
    RUNTIME = 6
    PYTHON = 7
    ANNOTATION = 8
    DEVICE_ANNOTATION = 9
    OTHER = 10


# What keeps a device busy. A wait on an event occupies a stream but does nothing.
DEVICE_WORK = (Kind.KERNEL, Kind.COMMUNICATION, Kind.COPY, Kind.MEMSET)


@dataclass(frozen=True, kw_only=True)
class Track:
    """A row of the timeline: a host thread, or a stream of a device. `device` is -1 for the host."""

    pid: int | str
    tid: int | str
    device: int = -1
    process: str = ""
    thread: str = ""


@dataclass(kw_only=True)
class EventTable:
    """Columns of equal length n. `name` and `track` index `names` and `tracks`; `shape` indexes `shapes` or is -1.

    `correlation` ties a launch to its kernel (-1: none).
    """

    start: I64
    dur: I64
    name: I32
    kind: U8
    track: I32
    correlation: I64
    shape: I32
    names: list[str]
    tracks: list[Track]
    shapes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.start)

    def of(self, *kinds: Kind) -> Bools:
        """Mask of the events of these kinds."""
        wanted = np.zeros(256, dtype=np.bool_)
        wanted[list(kinds)] = True
        return wanted[self.kind]

    def devices(self) -> NDArray[np.int64]:
        """The device number of every track."""
        return np.array([t.device for t in self.tracks], dtype=np.int64)

    def take(self, rows: Bools | I64) -> EventTable:
        """The same table with these rows only; dictionaries are shared."""
        return EventTable(
            start=self.start[rows],
            dur=self.dur[rows],
            name=self.name[rows],
            kind=self.kind[rows],
            track=self.track[rows],
            correlation=self.correlation[rows],
            shape=self.shape[rows],
            names=self.names,
            tracks=self.tracks,
            shapes=self.shapes,
        )


@dataclass(kw_only=True)
class MemoryPoints:
    """Allocator events in order of the file: total bytes allocated and reserved after each; -1 is not said."""

    time: I64
    device: I64
    allocated: I64
    reserved: I64


@dataclass(kw_only=True)
class Trace:
    """One rank's profile. `rank` is -1 where nothing says it; `epoch_ns`, the clock's zero in Unix time, then 0.

    `vendor` holds the totals that the profiler itself wrote beside the events, or in their place.
    """

    events: EventTable
    sources: tuple[str, ...]
    layout: str
    rank: int = -1
    world_size: int = 0
    epoch_ns: int = 0
    offset_ns: int = 0
    memory: MemoryPoints | None = None
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    vendor: VendorTables | None = None


def empty_table() -> EventTable:
    """A table without events."""
    return EventTable(
        start=np.empty(0, np.int64),
        dur=np.empty(0, np.int64),
        name=np.empty(0, np.int32),
        kind=np.empty(0, np.uint8),
        track=np.empty(0, np.int32),
        correlation=np.empty(0, np.int64),
        shape=np.empty(0, np.int32),
        names=[],
        tracks=[],
    )
