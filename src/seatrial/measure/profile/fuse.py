"""Finds the catalogue's chains: adjacent kernels of one stream, matched as letters, each place once per pattern."""

from __future__ import annotations

import re

import numpy as np

from seatrial.measure.profile.events import EventTable, Kind
from seatrial.measure.profile.fuse_catalogue import PATTERNS, letter_of
from seatrial.measure.profile.records import FuseRow
from seatrial.measure.profile.thresholds import FuseLimits

BREAK = 10


def fuse_rows(table: EventTable, limits: FuseLimits) -> tuple[FuseRow, ...]:
    """Rows in order of the time they hold. `table` is one device's work."""
    kernels = table.take(table.of(Kind.KERNEL, Kind.COMMUNICATION, Kind.CPU_OP))
    if not len(kernels):
        return ()
    letters = np.array([ord(letter_of(name)) for name in kernels.names] or [46], np.uint8)
    order = np.lexsort((kernels.start, kernels.track))
    start, dur, track = kernels.start[order], kernels.dur[order], kernels.track[order]
    text = letters[kernels.name[order]]
    end = start + dur
    # Between two kernels that are not neighbours goes a break, so that no chain crosses it.
    apart = np.flatnonzero((track[1:] != track[:-1]) | (start[1:] - end[:-1] > int(limits.longest_gap_us * 1000))) + 1
    line = np.insert(text, apart, BREAK).tobytes().decode("latin-1")
    row_of = np.insert(np.arange(len(text)), apart, -1)
    out = []
    for pattern in PATTERNS:
        spans = [m.span() for m in re.finditer(pattern.chain, line)]
        if not spans:
            continue
        first = row_of[np.array([a for a, _ in spans])]
        last = row_of[np.array([b - 1 for _, b in spans])]
        held = int((end[last] - start[first]).sum())
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(dur)])
        kernels_ns = int((total[last + 1] - total[first]).sum())
        shown = order[first[0] : last[0] + 1]
        out.append(
            FuseRow(
                pattern=pattern.name,
                fused=pattern.fused,
                found=len(spans),
                held_ns=held,
                kernels_ns=kernels_ns,
                gaps_ns=max(held - kernels_ns, 0),
                example=tuple(kernels.names[int(n)][:120] for n in kernels.name[shown]),
            )
        )
    return tuple(sorted(out, key=lambda r: -r.held_ns))
