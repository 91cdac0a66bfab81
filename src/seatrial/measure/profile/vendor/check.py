"""The profiler's own totals beside the events read: a slice that was forgotten or a torn export shows here.

Operator types are compared where the events carry them (kernel_details, op_summary); the names of a timeline are
others, and then nothing is compared.
"""

from __future__ import annotations

from seatrial.core.finding import Finding
from seatrial.measure.profile import codes
from seatrial.measure.profile.events import EventTable, Kind
from seatrial.measure.profile.summary import grouped
from seatrial.measure.profile.vendor.tables import VendorTables

# Of the totals' time: types that the events name too; below it the two sides speak of other things.
SHARED_LEAST = 0.5
SAME = 0.01


def check_totals(table: EventTable, tables: VendorTables, place: str) -> list[Finding]:
    """T019 if the operator types that both sides name differ by over 1 % of the profiler's time."""
    theirs: dict[str, tuple[int, int]] = {}
    for row in tables.operators:
        calls, total = theirs.get(row.type, (0, 0))
        theirs[row.type] = (calls + row.calls, total + row.total_ns)
    whole = sum(total for _, total in theirs.values())
    kernels = table.of(Kind.KERNEL, Kind.COPY, Kind.COMMUNICATION)
    if not whole or not kernels.any():
        return []
    name, dur = table.name[kernels], table.dur[kernels]
    by = grouped(name, dur, dur)
    ours = {
        table.names[label]: (calls, total)
        for label, calls, total in zip(by.label.tolist(), by.calls.tolist(), by.total.tolist(), strict=True)
    }
    shared = [kind for kind in theirs if kind in ours]
    if sum(theirs[kind][1] for kind in shared) < SHARED_LEAST * whole:
        return []
    apart = {kind: abs(ours[kind][1] - theirs[kind][1]) for kind in shared}
    if sum(apart.values()) <= SAME * whole:
        return []
    worst = sorted(apart, key=lambda kind: (-apart[kind], kind))[:3]
    said = "; ".join(
        f"{kind} {ours[kind][1] / 1e6:,.3f} ms in {ours[kind][0]:,} calls read, "
        f"{theirs[kind][1] / 1e6:,.3f} ms in {theirs[kind][0]:,} there"
        for kind in worst
    )
    return [codes.totals_differ(place, said)]
