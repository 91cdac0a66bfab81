"""A bench: one measured run with its percentiles, and the comparison of two sides with its fairness."""

from __future__ import annotations

from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.quantity import measured as written
from seatrial.core.record import from_plain
from seatrial.measure.compare import BenchRun, Judged
from seatrial.measure.compare.report import LATENCIES, STATISTICS, better, unclaimed
from seatrial.measure.compare.verdict import figure
from seatrial.measure.compare.words import figure_word, word
from seatrial.report.blocks import Block, Cell, Column, Fold, Notice, Pairs, Paragraph, Table, unknown
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import blocks_of
from seatrial.report.sections.common import pair
from seatrial.report.words import count

NONE = "No percentage, winner or chart is given: the runs are not comparable, or not fit for a claim."


def measured(step: StepFacts, run: Gathered) -> list[Block]:
    """The figures of one run of the load, and what speaks against quoting them."""
    try:
        bench = from_plain(BenchRun, step.facts, where="facts")
    except FileFormatError:
        return blocks_of(step.facts, "facts")
    metrics = bench.metrics
    rows = (
        pair("side", bench.setup.label),
        pair("level", Cell(text=bench.level, tone="pass" if bench.level == "formal" else "inconclusive")),
        pair("requests", f"{metrics.success} of {metrics.total}", note=f"{metrics.warmup} before them as warm-up"),
        pair("load", _load(metrics.concurrency, metrics.rate)),
        *(
            pair(figure_word(name, "en"), _number(getattr(metrics, name), metrics.unknown.get(name, "")))
            for name in ("request_throughput", "output_throughput", "total_throughput")
        ),
        pair("service level", bench.sla.verdict.value, note=bench.sla.reason),
    )
    found: list[Block] = [Notice(tone="inconclusive", title=d) for d in bench.doubts]
    found += [Pairs(rows=rows), _percentiles(bench)]
    found += [Paragraph(text=note) for note in metrics.notes]
    if metrics.errors:
        cells = tuple((Cell(text=what[:300]), Cell(text=count(n))) for what, n in metrics.errors.items())
        columns = (Column(title="trouble"), Column(title="requests", is_number=True))
        found.append(Table(title="Requests that failed", columns=columns, rows=cells))
    return [*found, Fold(title="All facts of this run", blocks=tuple(blocks_of(step.facts)))]


def verdict(step: StepFacts, run: Gathered) -> list[Block]:
    """The comparison: what differs between the sides, then every figure with its interval and who is better."""
    try:
        judged = from_plain(Judged, step.facts, where="facts")
    except FileFormatError:
        return blocks_of(step.facts, "facts")
    found: list[Block] = [Notice(tone="inconclusive", title=f"no percentage: {d}") for d in judged.doubts]
    found.append(_differences(judged))
    if not judged.figures:
        return [*found, Paragraph(text=NONE)]
    winners = better(judged)
    rows = []
    for name, c in judged.figures.items():
        between = f"{c.low:+.1%} to {c.high:+.1%}" if c.low is not None and c.high is not None else "unknown"
        rows.append(
            (
                Cell(text=figure_word(name, "en"), note="judged" if name == judged.judged_by else ""),
                Cell(text=written(c.mean_a), note=_noise(c.cv_a)),
                Cell(text=written(c.mean_b), note=_noise(c.cv_b)),
                Cell(text=f"{c.change:+.1%}"),
                Cell(text=between),
                Cell(text=f"{c.p:.3f}") if c.p is not None else unknown("under four runs a side"),
                Cell(text=f"{c.detectable:.1%}") if c.detectable is not None else unknown("one run a side"),
                Cell(text=winners[name])
                if name in winners
                else Cell(text="–", note=word(unclaimed(judged, name), "en")),
            )
        )
    head = ("figure", judged.label_a, judged.label_b, "change", "95 % interval", "p", "least detectable", "better")
    columns = tuple(Column(title=t, is_number=0 < n < 7) for n, t in enumerate(head))
    title = f"{judged.label_b} against {judged.label_a}, {judged.runs_a} and {judged.runs_b} runs in turn"
    return [*found, Table(title=title, columns=columns, rows=tuple(rows))]


def _differences(judged: Judged) -> Block:
    fair = judged.fairness
    if not fair.differences:
        return Paragraph(text=f"{fair.same} fields of the setup are the same on both sides, and none differs.")
    rows = tuple(
        (
            Cell(text=d.field, is_code=True),
            Cell(text=_fact(d.a)),
            Cell(text=_fact(d.b)),
            Cell(text=d.kind, tone="fail" if d.kind == "forbidden" else "pass", note=d.why),
        )
        for d in fair.differences
    )
    columns = tuple(Column(title=t) for t in ("field", judged.label_a, judged.label_b, "may it differ?"))
    return Table(title=f"What differs ({fair.same} fields are the same)", columns=columns, rows=rows)


def _percentiles(bench: BenchRun) -> Table:
    rows = []
    for name in LATENCIES:
        why = bench.metrics.unknown.get(name, "not measured")
        values = (figure(bench.metrics, f"{name}.{s}") for s in STATISTICS)
        rows.append((Cell(text=figure_word(name, "en")), *(_number(v, why) for v in values)))
    columns = (Column(title="latency"), *(Column(title=s, is_number=True) for s in STATISTICS))
    return Table(title="Latencies", columns=columns, rows=tuple(rows))


def _load(concurrency: int | None, rate: float | None) -> str:
    return f"{concurrency} at a time" if concurrency else f"{rate:g} requests/s" if rate else "unknown"


def _noise(cv: float | None) -> str:
    return f"varies {cv:.1%}" if cv is not None else ""


def _number(value: float | None, why: str) -> Cell:
    return unknown(why or "not measured") if value is None else Cell(text=written(value))


def _fact(value: Any) -> str:
    return "not set" if value is None else str(value)
