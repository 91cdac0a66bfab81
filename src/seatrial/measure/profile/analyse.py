"""From traces to the report: every rank, every device, then all ranks together."""

from __future__ import annotations

import numpy as np

from seatrial.core.collector import without_collector
from seatrial.core.finding import Finding
from seatrial.core.record import replace
from seatrial.measure.profile import codes
from seatrial.measure.profile.bottleneck import bottleneck
from seatrial.measure.profile.code import code_rows
from seatrial.measure.profile.dispatch import dispatch
from seatrial.measure.profile.events import DEVICE_WORK, EventTable, Kind, Trace
from seatrial.measure.profile.fuse import fuse_rows
from seatrial.measure.profile.memory import memory
from seatrial.measure.profile.nesting import nest
from seatrial.measure.profile.pipeline import pipeline
from seatrial.measure.profile.ranks import align, compare
from seatrial.measure.profile.readers.columns import BEYOND, UNDATED
from seatrial.measure.profile.records import DeviceReport, NameRow, ProfileReport, RankReport, Times
from seatrial.measure.profile.summary import (
    Work,
    communication_rows,
    families_of,
    family_rows,
    name_rows,
    times,
    work_of,
)
from seatrial.measure.profile.thresholds import Thresholds, load_thresholds
from seatrial.measure.profile.vendor.check import check_totals
from seatrial.measure.profile.vendor.tables import VendorTables

HOST = -1


def works_of(table: EventTable) -> list[Work]:
    """The devices of a rank; where there is none, the host whose operators are the work."""
    rows = np.flatnonzero(table.of(*DEVICE_WORK))
    family = families_of(table)
    if not len(rows):
        rows = np.flatnonzero(table.of(Kind.CPU_OP))
        if not len(rows):
            return []
        chosen = table.take(rows)
        own = nest(chosen.start, chosen.dur, chosen.track).self_ns
        return [work_of(chosen, HOST, family, own)]
    devices = table.devices()[table.track[rows]]
    out = []
    for device in np.unique(devices).tolist():
        chosen = table.take(rows[devices == device])
        out.append(work_of(chosen, device, family, chosen.dur))
    return out


def analyse(
    traces: list[Trace],
    *,
    top: int = 50,
    marker: str | None = None,
    boundary: tuple[str, str] | None = None,
    limits: Thresholds | None = None,
) -> ProfileReport:
    """The report of one capture. `marker` and `boundary` are regular expressions of the user's."""
    with without_collector():
        return _analyse(traces, top, marker, boundary, limits or load_thresholds())


def _analyse(
    traces: list[Trace], top: int, marker: str | None, boundary: tuple[str, str] | None, chosen: Thresholds
) -> ProfileReport:
    ordered = sorted(traces, key=lambda t: (t.rank, t.sources))
    findings = [f for t in ordered for f in t.findings]
    findings += _about_ranks(ordered)
    alignment = align(ordered, chosen.ranks) if len(ordered) > 1 else None
    reports: list[RankReport] = []
    for i, trace in enumerate(ordered):
        offset = alignment.offsets[i] if alignment is not None else 0
        reports.append(_rank(trace, offset, top, marker, boundary, chosen, findings))
    across = None
    if alignment is not None:
        findings += alignment.findings
        busiest = [_busiest(r) for r in reports]
        across = compare(ordered, alignment, busiest, chosen.ranks)
    return ProfileReport(ranks=tuple(reports), across=across, findings=tuple(findings))


def _busiest(report: RankReport) -> Times:
    if not report.devices:
        nothing = 0
        return Times(
            span_ns=nothing,
            busy_ns=nothing,
            idle_ns=nothing,
            compute_ns=nothing,
            communication_ns=nothing,
            overlap_ns=nothing,
            exposed_communication_ns=nothing,
            copy_ns=nothing,
        )
    return max((d.times for d in report.devices), key=lambda t: t.busy_ns)


def _about_ranks(traces: list[Trace]) -> list[Finding]:
    out = []
    known = [t.rank for t in traces if t.rank >= 0]
    world = max((t.world_size for t in traces), default=0)
    if world > 1 and len(set(known)) < world and len(traces) > 1:
        out.append(codes.missing_ranks(known, world))
    for rank in sorted({r for r in known if known.count(r) > 1}):
        out.append(codes.same_rank(rank, [s for t in traces if t.rank == rank for s in t.sources]))
    return out


def _rank(
    trace: Trace,
    offset: int,
    top: int,
    marker: str | None,
    boundary: tuple[str, str] | None,
    limits: Thresholds,
    findings: list[Finding],
) -> RankReport:
    table = trace.events
    works = works_of(table)
    place = trace.sources[0] if trace.sources else f"rank {trace.rank}"
    if works and works[0].device == HOST:
        findings.append(codes.no_device(place))
    found, segmentation = pipeline(table, works, marker, boundary)
    if segmentation.why and works:
        findings.append(codes.no_steps(place, segmentation.why))
    vendor = trace.vendor
    if vendor is not None:
        findings += check_totals(table, vendor, place)
    return RankReport(
        rank=trace.rank,
        sources=trace.sources,
        layout=trace.layout,
        events=len(table),
        start_ns=int(table.start.min()) + offset if len(table) else 0,
        end_ns=int((table.start + table.dur).max()) + offset if len(table) else 0,
        epoch_ns=trace.epoch_ns,
        offset_ns=offset,
        devices=tuple(_device(work, trace, top, limits) for work in works),
        operators=operators(table, top),
        pipeline=found,
        counts=trace.counts,
        code=code_rows(table, top),
        vendor=_cut(vendor, top) if vendor is not None else None,
    )


def _cut(tables: VendorTables, top: int) -> VendorTables:
    """The tables with the heaviest `top` rows of those that have a row for every operator."""
    return replace(
        tables,
        operators=tuple(sorted(tables.operators, key=lambda r: (-r.total_ns, r.type))[:top]),
        host_operators=tables.host_operators[:top],
    )


def _device(work: Work, trace: Trace, top: int, limits: Thresholds) -> DeviceReport:
    covered = times(work)
    kernels, names = name_rows(work.table, work.family, work.self_ns, covered.busy_ns, top)
    leaves = work.table if work.device != HOST else work.table.take(work.self_ns == work.table.dur)
    unusable = tuple(f"{trace.counts[what]} {what}" for what in (UNDATED, BEYOND) if trace.counts.get(what))
    moved = memory(work, trace.memory, unusable)
    return DeviceReport(
        device=work.device,
        events=len(work.table),
        times=covered,
        kernels=kernels,
        kernel_names=names,
        families=family_rows(work),
        communication=communication_rows(work),
        fuse=fuse_rows(leaves, limits.fuse),
        dispatch=dispatch(work, trace.events),
        memory=moved,
        bottleneck=bottleneck(covered, moved, limits.bottleneck),
    )


def operators(table: EventTable, top: int) -> tuple[NameRow, ...]:
    """The host's operators by self time, as torch's `key_averages` counts it: children are taken off.

    A call that is the only child of one of the same name is that call once more (`aten::div_` by a number), as there.
    """
    rows = np.flatnonzero(table.of(Kind.CPU_OP, Kind.ANNOTATION, Kind.RUNTIME))
    if not len(rows):
        return ()
    chosen = table.take(rows)
    nested = nest(chosen.start, chosen.dur, chosen.track)
    own, parent = nested.self_ns.copy(), nested.parent
    children = np.bincount(parent[parent >= 0], minlength=len(chosen))
    again = (parent >= 0) & (chosen.name[parent] == chosen.name) & (children[parent] == 1)
    for depth in np.unique(nested.depth[again])[::-1]:
        mine = np.flatnonzero(again & (nested.depth == depth))
        own[parent[mine]] += own[mine]
    chosen, own = chosen.take(~again), own[~again]
    from seatrial.measure.profile.intervals import union

    whole = union(chosen.start, chosen.start + chosen.dur).total()
    found, _ = name_rows(chosen, families_of(chosen)[chosen.name], own, whole, top)
    return found
