"""What a trace said, kept as evidence: the bench run it explains, each device's times, kernels, families and steps."""

from __future__ import annotations

from seatrial.report.blocks import Block, Cell, Column, Fold, Pairs, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import blocks_of
from seatrial.report.sections.common import leftover, pair
from seatrial.report.words import count, size

MOST_KERNELS = 15
WITH_PROFILER = "yes: times explain, they are no performance figures"


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or "report" not in step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("schema_version")
    attached = facts.flag("profiler_attached")
    found: list[Block] = [
        Pairs(
            rows=(
                pair("explains the run", Cell(text=facts.text("explains"), is_code=True)),
                pair("profiler attached", WITH_PROFILER if attached else attached, "not recorded"),
            )
        )
    ]  # fmt: skip
    files = tuple(
        (Cell(text=str(f.get("path"))), Cell(text=size(f["bytes"]) if isinstance(f.get("bytes"), int) else "unknown"),
         Cell(text=str(f.get("sha256")), is_code=True))
        for f in facts.objects("files")
    )  # fmt: skip
    found.append(Table(title="Files", columns=_columns("file", "#size", "SHA-256"), rows=files))
    report = facts.child("report")
    for name in ("schema_version", "profiler_attached", "findings"):
        report.take(name)
    for rank in report.objects("ranks"):
        found += _rank(Facts(rank))
    return [*found, *leftover(facts)]


def _rank(rank: Facts) -> list[Block]:
    number = rank.whole("rank")
    who = f"rank {number}, " if number is not None and number >= 0 else ""
    found: list[Block] = []
    for device in rank.objects("devices"):
        found += _device(Facts(device), who)
    pipeline = rank.child("pipeline")
    phases = tuple(
        (Cell(text=str(p.get("phase"))), Cell(text=_whole(p.get("steps"))), *(
            Cell(text=_ms(p.get(f"{which}_ns"))) for which in ("median", "p90", "longest", "total", "busy")))
        for p in pipeline.objects("phases")
    )  # fmt: skip
    if phases:
        columns = _columns("phase", "#steps", "#median ms", "#p90 ms", "#longest ms", "#all ms", "#busy ms")
        found.append(Table(title=f"{who}steps by {pipeline.text('how')}", columns=columns, rows=phases))
    gaps = tuple(
        (Cell(text=str(b.get("stream"))), Cell(text=str(b.get("boundary"))), Cell(text=_whole(b.get("pairs"))),
         Cell(text=_ms(b.get("total_ns"))), Cell(text=_ms(b.get("median_ns"))), Cell(text=_ms(b.get("longest_ns"))))
        for b in pipeline.objects("bubbles")
    )  # fmt: skip
    if gaps:
        columns = _columns("stream", "between", "#pairs", "#all ms", "#median ms", "#longest ms")
        found.append(Table(title=f"{who}bubbles", columns=columns, rows=gaps))
    return [*found, Fold(title=f"{who}further tables", blocks=tuple(leftover(rank)))]


def _device(device: Facts, who: str) -> list[Block]:
    number = device.whole("device")
    name = f"{who}device {number}" if number is not None and number >= 0 else f"{who}host"
    times, bottleneck = device.child("times"), device.child("bottleneck")
    span = times.number("span_ns") or 0
    shares = ", ".join(
        f"{label} {_part(times.number(f'{key}_ns'), span)}"
        for label, key in (
            ("busy", "busy"), ("idle", "idle"), ("compute", "compute"), ("communication", "communication"),
            ("exposed communication", "exposed_communication"), ("copies", "copy"),
        )
    ) if span else None  # fmt: skip
    measures = ", ".join(
        f"{m.get('name')} {m.get('value'):.3f} {'over' if m.get('exceeded') else 'within'} {m.get('threshold'):g}"
        for m in bottleneck.objects("measures")
        if isinstance(m.get("value"), (int, float)) and isinstance(m.get("threshold"), (int, float))
    )
    rows = (
        pair("span", f"{_ms(span)} ms" if span else None, "no event"),
        pair("shares of it", shares, "no event"),
        pair("bottleneck", bottleneck.text("kind") or None, "not recorded", measures),
    )
    kernels = device.objects("kernels")
    left = len(kernels) - MOST_KERNELS
    found: list[Block] = [
        Pairs(title=name, rows=rows),
        Table(
            title=f"{name}: kernels by time",
            columns=_columns("name", "family", "#calls", "#ms", "#share"),
            rows=tuple(
                (Cell(text=str(k.get("name"))[:200]), Cell(text=str(k.get("family"))),
                 Cell(text=_whole(k.get("calls"))), Cell(text=_ms(k.get("self_ns"))),
                 Cell(text=_share(k.get("share"))))
                for k in kernels[:MOST_KERNELS]
            ),
            left_out=f"{count(left)} more are in the facts" if left > 0 else "",
        ),
        Table(
            title=f"{name}: families",
            columns=_columns("family", "#calls", "#covered ms", "#share"),
            rows=tuple(
                (Cell(text=str(f.get("family"))), Cell(text=_whole(f.get("calls"))),
                 Cell(text=_ms(f.get("covered_ns"))), Cell(text=_share(f.get("share"))))
                for f in device.objects("families")
            ),
        ),
    ]  # fmt: skip
    return [*found, Fold(title=f"{name}: further tables", blocks=tuple(leftover(device)))]


def _columns(*titles: str) -> tuple[Column, ...]:
    """Columns; a title with # in front holds numbers."""
    return tuple(Column(title=t.lstrip("#"), is_number=t.startswith("#")) for t in titles)


def _ms(value: object) -> str:
    return f"{value / 1e6:,.3f}" if isinstance(value, (int, float)) else "unknown"


def _whole(value: object) -> str:
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else "unknown"


def _part(value: float | int | None, whole: float) -> str:
    return "unknown" if value is None else f"{100 * value / whole:.1f} %"


def _share(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, (int, float)) else "unknown"
