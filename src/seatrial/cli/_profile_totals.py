"""How the totals that the profiler itself wrote look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.cli._profile_text import line, ms, percent, table

if TYPE_CHECKING:
    from seatrial.measure.profile.vendor.tables import VendorTables

MOST = 15


def show_totals(tables: VendorTables) -> None:
    """One table for each of the profiler's, headed by the files."""
    line(f"  the profiler's own totals: {', '.join(tables.sources)}")
    whole = sum(o.total_ns for o in tables.operators) or 1
    table(
        f"operator types ({len(tables.operators)})",
        ("time ms", "share", "calls", "core", "family", "type"),
        [
            (ms(o.total_ns), percent(o.total_ns / whole), f"{o.calls:,}", o.core, o.family, o.type[:90])
            for o in tables.operators[:MOST]
        ],
    )
    table(
        "collectives",
        ("time ms", "calls", "device", "type"),
        [(ms(c.total_ns), f"{c.calls:,}", str(c.device), c.type[:90]) for c in tables.collectives[:MOST]],
    )
    table(
        "what collectives waited for (elapsed = transit + wait + idle)",
        ("elapsed ms", "transit ms", "wait ms", "synchronization ms", "calls", "type"),
        [
            (ms(c.elapsed_ns), ms(c.transit_ns), ms(c.wait_ns), ms(c.synchronization_ns), f"{c.calls:,}", c.type[:90])
            for c in tables.collective_times[:MOST]
        ],
    )
    table(
        "transports",
        ("MB", "transit ms", "GB/s", "transport"),
        [
            (
                f"{link.bytes / 1e6:,.3f}",
                ms(link.transit_ns),
                f"{link.bandwidth_gb_s:.2f}" if link.bandwidth_gb_s is not None else "unknown",
                link.transport,
            )
            for link in tables.links
        ],
    )
    table(
        f"steps ({len(tables.steps)})",
        ("computing ms", "exposed ms", "free ms", "preparing ms", "device", "step"),
        [
            (
                ms(s.computing_ns),
                ms(s.exposed_ns),
                ms(s.free_ns),
                ms(s.preparing_ns) if s.preparing_ns is not None else "-",
                str(s.device),
                s.step or "(none)",
            )
            for s in tables.steps[:MOST]
        ],
    )
    table(
        f"host operators ({len(tables.host_operators)})",
        ("host self ms", "device self ms", "calls", "name"),
        [(ms(o.host_self_ns), ms(o.device_self_ns), f"{o.calls:,}", o.name[:90]) for o in tables.host_operators[:MOST]],
    )
