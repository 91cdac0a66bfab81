"""Copies, KV-cache kernels, the allocator."""

from __future__ import annotations

import numpy as np

from seatrial.measure.profile.events import MemoryPoints
from seatrial.measure.profile.records import Memory, MemoryRow
from seatrial.measure.profile.summary import INDEX, Work


def memory(work: Work, points: MemoryPoints | None, unusable: tuple[str, ...] = ()) -> Memory:
    """The memory table of one device. `unusable`: allocator events of the file that could not be used, in words."""
    table = work.table
    chosen = np.flatnonzero(work.family == INDEX["copy"])
    rows = []
    for name in np.unique(table.name[chosen]):
        mine = chosen[table.name[chosen] == name]
        rows.append(MemoryRow(name=table.names[int(name)], calls=len(mine), total_ns=int(work.self_ns[mine].sum())))
    cache = work.family == INDEX["kv cache"]
    allocated: int | None = None
    reserved: int | None = None
    events = 0
    if points is not None:
        here = points.device == work.device
        events = int(here.sum())
        if events:
            allocated = int(points.allocated[here].max())
            reserved = int(points.reserved[here].max()) if (points.reserved[here] >= 0).any() else None
    return Memory(
        copies=tuple(sorted(rows, key=lambda r: -r.total_ns)[:50]),
        kv_cache_ns=int(work.self_ns[cache].sum()) if work.device < 0 else work.segments(np.flatnonzero(cache)).total(),
        kv_cache_calls=int(cache.sum()),
        peak_allocated_bytes=allocated,
        peak_reserved_bytes=reserved,
        allocator_events=events,
        why="" if events else _why(points, unusable),
    )


def _why(points: MemoryPoints | None, unusable: tuple[str, ...]) -> str:
    if unusable:
        return f"no allocator event of this device can be used; the file has {' and '.join(unusable)}"
    if points is not None:
        return "the profiler wrote no allocator event of this device"
    return "the profiler was not asked for memory (torch_profiler_with_memory)"
