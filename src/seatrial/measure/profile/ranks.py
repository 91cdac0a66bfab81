"""All ranks side by side: clocks aligned at collectives, who comes late, and why.

A collective ends on all ranks at about the same moment, so the median difference of the ends of the k-th call of each
collective is the difference of two clocks. After alignment the rank that starts last is the one the others wait for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from seatrial.core.finding import Finding
from seatrial.measure.profile import codes
from seatrial.measure.profile.events import I64, EventTable, Kind, Trace
from seatrial.measure.profile.records import Ranks, RankSkew, Times
from seatrial.measure.profile.thresholds import RankLimits

# HCCL numbers every call: hcom_allReduce__746_0_1 and hcom_allReduce__746_1_1 are calls of one collective.
NUMBERS = re.compile(r"(_+\d+)+(_|$)")


@dataclass(kw_only=True)
class Alignment:
    """Offsets to add to each trace's times, and the matched collectives: starts and ends, traces x collectives."""

    offsets: list[int]
    start: np.ndarray
    end: np.ndarray
    findings: list[Finding] = field(default_factory=list)


def _calls(table: EventTable) -> dict[str, tuple[I64, I64]]:
    rows = np.flatnonzero(table.kind == Kind.COMMUNICATION)
    stems = {int(n): NUMBERS.sub("", table.names[int(n)])[:200] for n in np.unique(table.name[rows])}
    out: dict[str, tuple[I64, I64]] = {}
    for stem in sorted(set(stems.values())):
        ids = [n for n, text in stems.items() if text == stem]
        mine = rows[np.isin(table.name[rows], ids)]
        mine = mine[np.argsort(table.start[mine], kind="stable")]
        out[stem] = (table.start[mine], table.start[mine] + table.dur[mine])
    return out


def align(traces: list[Trace], limits: RankLimits) -> Alignment:
    """Match collectives over all traces by name and order, and find the clocks' offsets against the first trace."""
    calls = [_calls(trace.events) for trace in traces]
    findings: list[Finding] = []
    starts, ends = [], []
    for stem in sorted(set().union(*calls)) if calls else []:
        counts = {trace.rank: len(c[stem][0]) if stem in c else 0 for trace, c in zip(traces, calls, strict=True)}
        if len(set(counts.values())) > 1:
            findings.append(codes.uneven_collectives(stem, counts))
        least = min(counts.values())
        if least:
            starts.append(np.stack([c[stem][0][:least] for c in calls]))
            ends.append(np.stack([c[stem][1][:least] for c in calls]))
    if not starts:
        empty = np.empty((len(traces), 0), np.int64)
        return Alignment(offsets=[0] * len(traces), start=empty, end=empty, findings=findings)
    start, end = np.concatenate(starts, axis=1), np.concatenate(ends, axis=1)
    offsets = [int(np.median(end[0] - row)) for row in end]
    for trace, offset in zip(traces, offsets, strict=True):
        if abs(offset) > limits.clock_offset_us * 1000:
            findings.append(codes.clock_offset(trace.rank, offset, end.shape[1]))
    moved = np.array(offsets, np.int64)[:, None]
    return Alignment(offsets=offsets, start=start + moved, end=end + moved, findings=findings)


def compare(traces: list[Trace], alignment: Alignment, found: list[Times], limits: RankLimits) -> Ranks:
    """Who is late at the matched collectives, and which of its own times explains it. `found`: busiest device each."""
    matched = alignment.start.shape[1]
    rows = []
    late = alignment.start - alignment.start.min(axis=0, keepdims=True) if matched else alignment.start
    last = np.bincount(alignment.start.argmax(axis=0), minlength=len(traces)) if matched else np.zeros(len(traces), int)
    if matched:
        # Where nobody came later than another there is no last one.
        tied = late.max(axis=0) == 0
        last = np.bincount(alignment.start.argmax(axis=0)[~tied], minlength=len(traces))
    for i, (trace, its) in enumerate(zip(traces, found, strict=True)):
        rows.append(
            RankSkew(
                rank=trace.rank,
                collectives=matched,
                last_to_arrive=int(last[i]),
                late_mean_ns=float(late[i].mean()) if matched else 0.0,
                late_longest_ns=int(late[i].max()) if matched else 0,
                compute_ns=its.compute_ns,
                communication_ns=its.communication_ns,
                idle_ns=its.idle_ns,
            )
        )
    if not matched:
        return Ranks(rows=tuple(rows), matched=0, slow_rank=None, because="", why="no collective is in all traces")
    slow = int(last.argmax())
    if last[slow] <= limits.last_share * matched:
        return Ranks(
            rows=tuple(rows), matched=matched, slow_rank=None, because="", why="no rank is last most of the time"
        )
    because = _because(slow, found)
    return Ranks(rows=tuple(rows), matched=matched, slow_rank=traces[slow].rank, because=because)


def _because(slow: int, found: list[Times]) -> str:
    """Of compute and idle (the host), the one in which the slow rank exceeds the others' median the most."""
    others = [its for i, its in enumerate(found) if i != slow]
    more_compute = found[slow].compute_ns - float(np.median([o.compute_ns for o in others]))
    more_idle = found[slow].idle_ns - float(np.median([o.idle_ns for o in others]))
    more_copy = found[slow].copy_ns - float(np.median([o.copy_ns for o in others]))
    best = max((more_compute, "compute"), (more_idle, "host"), (more_copy, "copies"))
    return best[1] if best[0] > 0 else "communication"
