"""How well the host feeds the device: gaps per stream, how long launches wait, whose fault idle time is."""

from __future__ import annotations

import re

import numpy as np

from seatrial.measure.profile.events import EventTable, Kind
from seatrial.measure.profile.intervals import covered, gaps, union
from seatrial.measure.profile.records import Dispatch, StreamRow
from seatrial.measure.profile.summary import Work

GRAPH = re.compile(r"GraphLaunch|aclmdlRIExecute|aclmdlExecute|graph_?replay|rtModelExecute|MODEL_EXECUTE", re.I)
LAUNCH = re.compile(
    r"LaunchKernel|LaunchCooperative|aclrtLaunch|rtKernelLaunch|KernelLaunch|^launch|@.*launch|^Node@launch", re.I
)
SYNC = re.compile(r"Synchronize|EventSync|StreamSync|WaitEvent|aclrtSync|StreamWait", re.I)


def stream_name(table: EventTable, track: int) -> str:
    """A track as people call it: device and stream, or the host thread."""
    row = table.tracks[track]
    if row.device >= 0:
        label = row.thread or f"stream {row.tid}"
        return f"device {row.device} {label}"
    return row.thread or f"thread {row.tid}"


def stream_rows(work: Work) -> tuple[StreamRow, ...]:
    """Every stream of the device, the busiest first."""
    table, out = work.table, []
    order = np.lexsort((table.start, table.track))
    breaks = np.flatnonzero(np.diff(table.track[order])) + 1
    for rows in np.split(order, breaks):
        segments = union(table.start[rows], table.start[rows] + table.dur[rows])
        if not len(segments.start):
            continue
        gap = segments.start[1:] - segments.end[:-1]
        span = int(segments.end[-1] - segments.start[0])
        out.append(
            StreamRow(
                stream=stream_name(table, int(table.track[rows[0]])),
                launches=len(rows),
                busy_ns=segments.total(),
                gaps=len(gap),
                gap_ns=int(gap.sum()),
                gap_median_ns=int(np.median(gap)) if len(gap) else 0,
                gap_longest_ns=int(gap.max()) if len(gap) else 0,
                launches_per_ms=len(rows) / (span / 1e6) if span else 0.0,
            )
        )
    return tuple(sorted(out, key=lambda r: -r.busy_ns)[:64])


def dispatch(work: Work, whole: EventTable) -> Dispatch:
    """`whole` is the rank's table, for the host's side."""
    runtime = whole.take(whole.of(Kind.RUNTIME))
    calls = (
        np.bincount(runtime.name, minlength=len(whole.names)) if len(runtime) else np.zeros(len(whole.names), np.int64)
    )

    def count(pattern: re.Pattern[str]) -> int:
        return sum(int(n) for name, n in zip(whole.names, calls, strict=True) if n and pattern.search(name))

    sync = np.array([bool(SYNC.search(name)) for name in whole.names] or [False], np.bool_)
    waiting = sync[runtime.name] if len(runtime) else np.zeros(0, np.bool_)
    linked, median, longest, share, why = _queue(work, runtime)
    return Dispatch(
        streams=stream_rows(work),
        linked_launches=linked,
        queued_median_ns=median,
        queued_longest_ns=longest,
        host_bound_share=share,
        graph_launches=count(GRAPH),
        eager_launches=count(LAUNCH),
        sync_calls=int(waiting.sum()),
        sync_ns=union(runtime.start[waiting], (runtime.start + runtime.dur)[waiting]).total(),
        why=why,
    )


def _queue(work: Work, runtime: EventTable) -> tuple[int, int | None, int | None, float | None, str]:
    """Launches tied to kernels by correlation: how many, median and longest wait, host-bound share, or why not."""
    if work.device < 0:
        return 0, None, None, None, "the host runs the operators itself: nothing is launched"
    known = runtime.correlation >= 0
    mine = work.table.correlation >= 0
    if not known.any() or not mine.any():
        return 0, None, None, None, "the trace ties no launch to its kernel (no correlation ids)"
    ids = runtime.correlation[known]
    ends = (runtime.start + runtime.dur)[known]
    order = np.argsort(ids, kind="stable")
    ids, ends = ids[order], ends[order]
    at = np.minimum(np.searchsorted(ids, work.table.correlation[mine]), len(ids) - 1)
    same = ids[at] == work.table.correlation[mine]
    if not same.any():
        return 0, None, None, None, "no correlation id of a kernel is that of a launch"
    begin = work.table.start[mine][same]
    launched = ends[at][same]
    queued = np.maximum(begin - launched, 0)
    idle = gaps(work.busy, work.first, work.last)
    pending = union(launched, begin)
    total = idle.total()
    fed = int(covered(pending, idle.start, idle.end).sum())
    share = (total - fed) / total if total else 0.0
    return int(same.sum()), int(np.median(queued)), int(queued.max()), share, ""
