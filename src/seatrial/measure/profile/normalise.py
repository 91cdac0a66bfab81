"""After reading: collectives get their kind, broken clocks are set aside, units are doubted. Each with a finding."""

from __future__ import annotations

import numpy as np

from seatrial.measure.profile import codes
from seatrial.measure.profile.events import DEVICE_WORK, EventTable, Kind, Trace
from seatrial.measure.profile.families import family_of
from seatrial.measure.profile.thresholds import Sanity


def normalise(trace: Trace, limits: Sanity) -> Trace:
    """The trace, changed in place and returned."""
    table = trace.events
    _mark_communication(table)
    place = trace.sources[0] if trace.sources else "trace"
    farthest = int(limits.farthest_s * 1e9)
    stray = _stray(table, farthest)
    if stray is not None:
        many = int(stray.sum())
        trace.findings.append(codes.broken_clock(place, many, limits.farthest_s))
        trace.events = table = table.take(~stray)
    work = table.of(*DEVICE_WORK)
    if not work.any():
        work = table.of(Kind.CPU_OP)
    durations = table.dur[work]
    if len(durations) >= 16:
        median = int(np.median(durations))
        if median > limits.median_kernel_most_ns:
            trace.findings.append(codes.wrong_unit(place, median, "nanoseconds written as microseconds"))
        elif 0 < median < limits.median_kernel_least_ns:
            trace.findings.append(codes.wrong_unit(place, median, "milliseconds or seconds written as microseconds"))
    if not len(table):
        trace.findings.append(codes.nothing(place))
    return trace


def _mark_communication(table: EventTable) -> None:
    kernels = table.of(Kind.KERNEL)
    if kernels.any():
        collective = np.array([family_of(name) == "communication" for name in table.names] or [False], np.bool_)
        table.kind[kernels & collective[table.name]] = Kind.COMMUNICATION


def _stray(table: EventTable, farthest: int) -> np.ndarray | None:
    """Rows that are too long, or too far in time from where most events are; None if there are none."""
    if not len(table):
        return None
    stray = table.dur > farthest
    if int(table.start.max()) - int(table.start.min()) > farthest:
        order = np.argsort(table.start, kind="stable")
        jumps = np.flatnonzero(np.diff(table.start[order]) > farthest) + 1
        groups = np.split(order, jumps)
        largest = max(groups, key=len)
        outside = np.ones(len(table), np.bool_)
        outside[largest] = False
        stray = stray | outside
    return stray if bool(stray.any()) else None
