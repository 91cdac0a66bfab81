"""How a profile report looks on a terminal: times, tables, pipeline, ranks, findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.cli._profile_text import line, ms, percent, table, us
from seatrial.cli._profile_totals import show_totals
from seatrial.core.finding import Severity

if TYPE_CHECKING:
    from seatrial.measure.profile.diff import Diff, DiffRow
    from seatrial.measure.profile.records import DeviceReport, ProfileReport, RankReport
    from seatrial.measure.profile.roofline import Join

STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "dim"}


def show_report(report: ProfileReport) -> None:
    """The whole report, one rank after the other."""
    for rank in report.ranks:
        _rank(rank)
    if report.across is not None:
        _across(report)
    for finding in report.findings:
        line(f"{finding.severity.value:<8}{finding.one_line()}", STYLE[finding.severity])
        if finding.next_step:
            line(f"        {finding.next_step}", "dim")


def _rank(rank: RankReport) -> None:
    name = f"rank {rank.rank}" if rank.rank >= 0 else "rank not said"
    line(f"{name}: {', '.join(rank.sources)} ({rank.layout}, {rank.events:,} events)", "bold")
    for device in rank.devices:
        _device(device)
    p = rank.pipeline
    if p.steps:
        empty = f", {p.empty_steps} empty ones left out" if p.empty_steps else ""
        line(f"  steps: {p.steps} by {p.how}{empty}")
        for phase in p.phases:
            busy = percent(phase.busy_ns / phase.total_ns) if phase.total_ns else "unknown"
            line(
                f"    {phase.phase:<9}{phase.steps:>6} steps  median {ms(phase.median_ns)} ms  p90 {ms(phase.p90_ns)}  "
                f"longest {ms(phase.longest_ns)}  busy {busy}"
            )
    for bubble in p.bubbles[:8]:
        line(
            f"  bubbles {bubble.stream}, {bubble.boundary}: {bubble.pairs} pairs, {ms(bubble.total_ns)} ms; "
            f"median {us(bubble.median_ns)} us, p90 {us(bubble.p90_ns)}, longest {us(bubble.longest_ns)}; "
            f"{bubble.overlapping} overlapping, {bubble.unpaired} unpaired"
        )
        for doing in bubble.host[:4]:
            line(f"    host   {percent(doing.share):>7}  {doing.name[:100]}", "dim")
        for doing in bubble.other_streams[:2]:
            line(f"    stream {percent(doing.share):>7}  {doing.name[:100]}", "dim")
    table(
        "lines of Python (of the launching or calling frame)",
        ("time ms", "share", "calls", "mostly", "where"),
        [
            (
                ms(c.total_ns),
                percent(c.share),
                f"{c.calls:,}",
                c.mostly[:50],
                f"{c.file}:{c.line} {c.function}" if c.line is not None else c.file,
            )
            for c in rank.code
        ],
    )
    if rank.vendor is not None:
        show_totals(rank.vendor)


def _device(device: DeviceReport) -> None:
    t = device.times
    span = t.span_ns or 1
    name = f"device {device.device}" if device.device >= 0 else "host"
    line(
        f"  {name}: span {ms(t.span_ns)} ms, busy {percent(t.busy_ns / span)}, idle {percent(t.idle_ns / span)}, "
        f"compute {percent(t.compute_ns / span)}, communication {percent(t.communication_ns / span)} "
        f"(exposed {percent(t.exposed_communication_ns / span)}, overlapped {ms(t.overlap_ns)} ms)"
    )
    b = device.bottleneck
    figures = ", ".join(f"{m.name} {m.value:.3f} {'>' if m.exceeded else '<='} {m.threshold:g}" for m in b.measures)
    line(f"  bottleneck: {b.kind} ({figures})")
    table(
        f"kernels ({device.kernel_names} names)",
        ("time ms", "share", "calls", "mean us", "family", "name"),
        [
            (ms(k.self_ns), percent(k.share), f"{k.calls:,}", us(k.mean_ns), k.family, k.name[:90])
            for k in device.kernels
        ],
    )
    table(
        "families",
        ("covered ms", "share", "calls", "family"),
        [(ms(f.covered_ns), percent(f.share), f"{f.calls:,}", f.family) for f in device.families],
    )
    table(
        "communication",
        ("covered ms", "exposed ms", "calls", "name"),
        [(ms(c.covered_ns), ms(c.exposed_ns), f"{c.calls:,}", c.name[:90]) for c in device.communication[:10]],
    )
    table(
        "fuse opportunities (time held, not time saved)",
        ("held ms", "found", "pattern", "fused operator"),
        [(ms(f.held_ns), f"{f.found:,}", f.pattern, f.fused) for f in device.fuse[:10]],
    )
    d = device.dispatch
    table(
        "streams",
        ("busy ms", "gaps ms", "median gap us", "launches", "per ms", "stream"),
        [
            (ms(s.busy_ns), ms(s.gap_ns), us(s.gap_median_ns), f"{s.launches:,}", f"{s.launches_per_ms:.1f}", s.stream)
            for s in d.streams[:8]
        ],
    )
    if d.linked_launches:
        bound = percent(d.host_bound_share) if d.host_bound_share is not None else "unknown"
        line(
            f"    launches: {d.linked_launches:,} tied to kernels, queued {us(d.queued_median_ns or 0)} us (median); "
            f"{bound} of idle time had no kernel waiting; "
            f"graph launches {d.graph_launches:,}, eager {d.eager_launches:,}; "
            f"{d.sync_calls:,} synchronising calls, {ms(d.sync_ns)} ms"
        )
    elif d.why:
        line(f"    launches: {d.why}", "dim")
    m = device.memory
    copies = ", ".join(f"{c.name[:40]} {ms(c.total_ns)} ms ({c.calls:,})" for c in m.copies[:3]) or "no copies"
    peak = f"peak {m.peak_allocated_bytes:,} bytes" if m.peak_allocated_bytes is not None else f"allocator: {m.why}"
    line(f"    memory: {copies}; KV cache kernels {ms(m.kv_cache_ns)} ms ({m.kv_cache_calls:,}); {peak}")


def _across(report: ProfileReport) -> None:
    across = report.across
    if across is None:
        return
    table(
        f"ranks at {across.matched:,} matched collectives",
        ("late mean us", "late most us", "last", "compute ms", "idle ms", "communication ms", "rank", ""),
        [
            (
                us(r.late_mean_ns),
                us(r.late_longest_ns),
                str(r.last_to_arrive),
                ms(r.compute_ns),
                ms(r.idle_ns),
                ms(r.communication_ns),
                str(r.rank),
                "",
            )
            for r in across.rows
        ],
    )
    if across.slow_rank is not None:
        line(f"    slow rank: {across.slow_rank}, because of {across.because}", "bold")
    else:
        line(f"    slow rank: none ({across.why})")


def show_diff(diff: Diff, top: int) -> None:
    """Families, then kernels, then what only one side has."""
    ratio = f"{diff.busy_ratio:.3f}" if diff.busy_ratio is not None else "unknown"
    line(f"B against A, {diff.basis}; steps {diff.steps_a} and {diff.steps_b}; busy ratio {ratio}", "bold")

    def cells(row: DiffRow) -> tuple[str, ...]:
        return (
            f"{row.delta_ns / 1e3:+,.1f}",
            f"{row.ratio:.3f}" if row.ratio is not None else "-",
            f"{row.a.calls:,}" if row.a else "-",
            f"{row.b.calls:,}" if row.b else "-",
            row.family,
            row.name[:90],
        )

    head = ("delta us", "ratio", "calls A", "calls B", "family", "name")
    for title, rows in (
        ("families", diff.families),
        ("kernels", diff.kernels),
        ("only in A", diff.only_a),
        ("only in B", diff.only_b),
    ):
        table(title, head, [cells(r) for r in rows[:top]])
    p = diff.prediction
    if p is not None:
        measured = f"{p.measured:.3f}" if p.measured is not None else "unknown"
        verdict = f"{p.outcome.verdict.value} {p.outcome.reason}".rstrip()
        line(f"prediction for {p.pattern!r}: {p.predicted:g}, measured {measured}: {verdict}")
    for finding in diff.findings:
        line(f"{finding.severity.value:<8}{finding.one_line()}", STYLE[finding.severity])


def show_join(join: Join) -> None:
    """Measured beside the bound, per phase and component."""

    def number(value: float | None, scale: float = 1.0, form: str = ",.1f") -> str:
        return format(value * scale, form) if value is not None else "-"

    table(
        f"measured against the plan's bound, a step (rank {join.rank}, {join.context_tokens} cached tokens)",
        ("measured us", "bound us", "of bound", "MFU", "MBU", "binds", "phase", "component"),
        [
            (
                number(r.measured_s, 1e6),
                number(r.bound_s, 1e6),
                number(r.of_bound, 1, ".1%"),
                number(r.mfu, 1, ".1%"),
                number(r.mbu, 1, ".1%"),
                r.binding,
                r.phase,
                r.component + (f": {r.why}" if r.why else ""),
            )
            for r in join.rows
        ],
    )
    for text in join.unknown:
        line(f"unknown  {text}", "yellow")
