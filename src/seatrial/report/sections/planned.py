"""The plan of a run and its check against the engine, from the records alone: charts, and the figures beside them."""

from __future__ import annotations

from seatrial.core.errors import FileFormatError
from seatrial.core.quantity import measured
from seatrial.core.record import from_json, to_json
from seatrial.estimate.check import PlanCheck, Range
from seatrial.estimate.curves import Reach
from seatrial.estimate.facts import PlanFacts
from seatrial.estimate.from_log import Comparison
from seatrial.estimate.plan import Answer, Plan
from seatrial.estimate.roofline import Bound
from seatrial.report.blocks import Block, Cell, Column, Fold, Pair, Pairs, Paragraph, Table, unknown
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import blocks_of
from seatrial.report.plots import short
from seatrial.report.sections.common import pair
from seatrial.report.sections.plan import charts
from seatrial.report.words import count, logged, size

NO_PLAN = "the plan could not be made"
# Figures of the engine's log, in words.
LOGGED = {
    "weights": "weights as loaded",
    "for_kv": "memory for the KV cache",
    "non_kv": "memory that is not the KV cache's",
    "activations": "activations",
    "runtime": "the device's runtime",
    "graphs": "captured graphs",
    "tokens": "KV cache",
    "length": "length of one request",
    "concurrency": "requests of that length at once",
}


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    """Step "plan". Facts of another version are shown as plain data."""
    if not step.facts:
        return []
    try:
        facts = from_json(PlanFacts, to_json(step.facts), where="facts of plan")
    except FileFormatError:
        return blocks_of(step.facts, "facts")
    plan = facts.plan
    drawn = charts(
        plan, facts.speed, facts.curves, facts.roof.peak if facts.roof else None,
        facts.roof.bandwidth if facts.roof else None,
    )  # fmt: skip
    found: list[Block] = [_head(facts)]
    if drawn.memory is not None:
        found.append(drawn.memory)
    found += _buckets(plan)
    if drawn.capacity is not None:
        found += [drawn.capacity, Fold(title="The figures of the capacity chart", blocks=(_lengths(plan),))]
    if drawn.roofline is not None and facts.speed is not None:
        tables = (_parts("Prefill of one prompt", facts.speed.prefill), _parts("Decode step", facts.speed.decode))
        found += [drawn.roofline, Fold(title="The figures of the roofline", blocks=tables)]
    if drawn.by_batch is not None and facts.curves is not None:
        found += [drawn.by_batch, Fold(title="The figures by batch", blocks=(_reach(facts.curves.by_batch),))]
    if drawn.pareto is not None and facts.curves is not None:
        found += [drawn.pareto, Fold(title="The figures of all layouts", blocks=(_reach(facts.curves.pareto),))]
    told = [*(f"not drawn: {why}" for why in drawn.missing), *facts.unknown, *plan.notes]
    if told:
        rows = tuple(Paragraph(text=f"{t[0].upper()}{t[1:]}.") for t in told)
        found.append(Fold(title="What is not known, and what was assumed", blocks=rows))
    return found


def _head(facts: PlanFacts) -> Pairs:
    plan = facts.plan
    asked, most = plan.asked, plan.most
    rows: list[Pair] = [
        pair("planned for", facts.device, note=f"hardware {facts.hardware}" if facts.hardware else ""),
        pair("layout", asked.layout.words()),
        pair("one request of the full length", f"{count(asked.length)} tokens", note=_words(plan.answer)),
        pair("baseline 128k by 16", plan.baseline.level if plan.baseline else None, "not applicable here; see below",
             _words(plan.baseline)),
        pair("limiting", plan.limiting),
        pair("KV cache, tokens", _n(most.tokens), NO_PLAN),
        pair("most requests of the full length", _n(most.requests), NO_PLAN,
             f"margin kept; the scheduler takes {count(asked.max_seqs)} at once"),
        pair("longest context of one request", _n(most.length), NO_PLAN, "margin kept"),
    ]  # fmt: skip
    if facts.speed is not None:
        load = f"{count(facts.speed.batch)} at once, {count(facts.prompt)} tokens in, {count(facts.output)} out"
        why = "a peak of the device is unknown"
        rows += [
            pair("TTFT at least", _s(facts.speed.ttft_s), why, "one prompt alone"),
            pair("TPOT at least", _s(facts.speed.tpot_s), why, load),
            pair("tokens/s at most", _rate(facts.speed.tokens_per_s), why, load),
        ]
    return Pairs(rows=tuple(rows))


def _words(answer: Answer | None) -> str:
    return f"{answer.level}: {answer.why}" if answer is not None else ""


def _n(number: float | None) -> str | None:
    return None if number is None else count(int(number))


def _rate(value: float | None) -> str | None:
    """Per second. Less than one of something is not none of it."""
    return None if value is None else measured(value)


def _s(value: float | None) -> str | None:
    return None if value is None else short(value, "s")


def _buckets(plan: Plan) -> list[Block]:
    if plan.memory is None:
        return []
    rows = []
    for bucket in plan.memory.buckets:
        amount = bucket.amount
        shown = Cell(text=size(int(amount.value))) if amount.value is not None else unknown(amount.note)
        rows.append(
            (Cell(text=bucket.name), shown, Cell(text=bucket.how),
             Cell(text=f"{amount.source.value}: {amount.note}" if amount.value is not None else "–"))
        )  # fmt: skip
    columns = (
        Column(title="bucket"), Column(title="per device", is_number=True), Column(title="made from"),
        Column(title="source"),
    )  # fmt: skip
    return [Fold(title="The buckets and where each comes from", blocks=(Table(columns=columns, rows=tuple(rows)),))]


def _lengths(plan: Plan) -> Table:
    rows = tuple((Cell(text=count(n)), Cell(text=count(held))) for n, held in sorted(plan.most.by_length.items()))
    columns = (Column(title="tokens a request", is_number=True), Column(title="requests at once", is_number=True))
    return Table(columns=columns, rows=rows)


def _parts(title: str, step: Bound) -> Table:
    rows = tuple(
        (
            Cell(text=x.part), Cell(text=short(x.flops) if x.flops else "–"),
            Cell(text=size(int(x.read_bytes)) if x.read_bytes else "–"),
            Cell(text=size(int(x.wire_bytes)) if x.wire_bytes else "–"),
            Cell(text=short(x.seconds, "s")) if x.seconds is not None else unknown("a peak is unknown"),
            Cell(text=x.binding),
        )
        for x in step.lines
    )  # fmt: skip
    titles = ("part", "FLOP", "read", "sent", "time at least", "bound by")
    columns = tuple(Column(title=t, is_number=t not in ("part", "bound by")) for t in titles)
    return Table(title=title, columns=columns, rows=rows)


def _reach(points: tuple[Reach, ...]) -> Table:
    rows = tuple(
        (
            Cell(text=p.layout), Cell(text=count(p.devices)), Cell(text=count(p.batch)),
            Cell(text=short(p.tpot_s, "s")), Cell(text=measured(p.tokens_per_s_device)), Cell(text=p.binding),
            Cell(text=("yes, on the frontier" if p.best else "yes") if p.fits else "no"),
        )
        for p in points
    )  # fmt: skip
    titles = ("layout", "devices", "at once", "TPOT at least", "tokens/s per device at most", "bound by", "fits")
    columns = tuple(Column(title=t, is_number=t not in ("layout", "bound by", "fits")) for t in titles)
    return Table(columns=columns, rows=rows)


def _exact(what: str, figure: Range) -> str:
    return f"{figure.words()} {'tokens' if what.startswith('KV tokens') else 'bytes'}"


def _error(row: Comparison) -> str:
    if row.within_rounding:
        return "within rounding"
    return f"{row.error:+.1%}" if row.error is not None else "–"


def check(step: StepFacts, run: Gathered) -> list[Block]:
    """Step "plan-check": each predicted figure beside the engine's."""
    if not step.facts:
        return []
    try:
        facts = from_json(PlanCheck, to_json(step.facts), where="facts of plan-check")
    except FileFormatError:
        return blocks_of(step.facts, "facts")
    found: list[Block] = []
    if facts.rows:
        rows = tuple(
            (
                Cell(text=r.what), Cell(text=_exact(r.what, r.planned)),
                Cell(text=_exact(r.what, r.reported), note=r.source),
                Cell(text="equal" if r.holds else "differs", tone="pass" if r.holds else "fail" if r.judged else "",
                     note="" if r.judged else "shown, not judged"),
            )
            for r in facts.rows
        )  # fmt: skip
        columns = tuple(Column(title=t, is_number=t in ("planned", "the engine's")) for t in
                        ("figure", "planned", "the engine's", ""))  # fmt: skip
        found.append(Table(title="What arithmetic alone decides", columns=columns, rows=rows))
    if facts.log:
        rows = tuple(
            (
                Cell(text=LOGGED.get(c.what, c.what)),
                Cell(text=logged(c.what, c.estimated)) if c.estimated is not None else unknown(NO_PLAN),
                Cell(text=logged(c.what, c.reported), note=f"the {facts.gate} gate's log, line {c.line}"),
                Cell(text=_error(c)),
            )
            for c in facts.log
        )  # fmt: skip
        columns = tuple(Column(title=t, is_number=t != "figure") for t in ("figure", "planned", "logged", "error"))
        title = "Every figure of the log (what hangs on the device is not judged)"
        found.append(Table(title=title, columns=columns, rows=rows))
    found += [Paragraph(text=f"{t[0].upper()}{t[1:]}.") for t in facts.unknown]
    return found
