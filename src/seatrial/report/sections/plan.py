"""The charts of a plan: memory buckets, capacity, roofline, TPOT against batch, latency against throughput per card.

In: what `seatrial plan` found. Out: plots as data. A chart whose figures are unknown is not drawn; `missing` says why.
"""

from __future__ import annotations

from seatrial.core.record import Record
from seatrial.estimate.curves import Curves, Reach
from seatrial.estimate.plan import Plan
from seatrial.estimate.roofline import Bound, Speed
from seatrial.report.plots import WIDTH, Bar, Dot, Piece, Plot, Row, across, polyline, short, up
from seatrial.report.words import count, size

# The bar of memory is drawn on this many pixels.
WHOLE = 600
TONES = {"weights": 0, "activations": 1, "graphs": 2, "runtime": 3, "speculative": 4, "kv": 5, "free": 6, "margin": 7}
MOST_LAYOUTS = 6


class Charts(Record):
    """None where there is nothing to draw; `missing` has the reasons in words."""

    memory: Bar | None
    capacity: Plot | None
    roofline: Plot | None
    by_batch: Plot | None
    pareto: Plot | None
    missing: tuple[str, ...]


def charts(plan: Plan, speed: Speed | None, curves: Curves | None, peak: float | None, memory: float | None) -> Charts:
    """`peak` in operations per second and `memory` in bytes per second: the roof; None where unknown."""
    missing: list[str] = []
    bar = memory_bar(plan)
    if bar is None:
        missing.append("memory: the device's memory or the model's weights are unknown")
    held = capacity(plan)
    if held is None:
        missing.append("capacity: no request of any length is known to fit")
    roof = roofline(speed, peak, memory) if speed is not None and peak and memory else None
    if roof is None:
        missing.append("roofline: needs --hardware with a peak and a memory bandwidth")
    lines = by_batch(curves) if curves is not None and curves.by_batch else None
    if lines is None:
        missing.append("TPOT against batch: no bound is known for this layout")
    best = pareto(curves) if curves is not None and curves.pareto else None
    if best is None:
        missing.append("latency and throughput: no layout both fits and has a bound")
    missing += [f"{layout}: {why}" for layout, why in (curves.refused.items() if curves else ())]
    return Charts(memory=bar, capacity=held, roofline=roof, by_batch=lines, pareto=best, missing=tuple(missing))


def memory_bar(plan: Plan) -> Bar | None:
    """What fills one device: known buckets, the asked KV cache, what is free of it, the margin."""
    have = plan.memory
    if have is None or have.device.value is None or have.budget is None:
        return None
    total = float(have.device.value)
    amounts: list[tuple[str, int]] = [
        (b.name, int(b.amount.value)) for b in have.buckets if b.amount.value and b.name != "margin"
    ]
    asked = plan.answer.needed if plan.answer is not None else None
    if asked:
        amounts.append(("kv", asked))
    room = (have.for_kv or 0) - (asked or 0) - have.margin
    if room > 0:
        amounts.append(("free", room))
    amounts.append(("margin", have.margin))
    names = {"kv": "KV cache asked", "free": "KV cache free"}
    beyond = sum(a for _, a in amounts)
    scale = WHOLE / max(total, beyond)
    pieces, x = [], 0.0
    for name, amount in amounts:
        width = amount * scale
        words = f"{size(amount)}, {amount / total:.1%} of the device"
        pieces.append(
            Piece(name=names.get(name, name), x=round(x, 2), width=round(width, 2), tone=TONES[name], words=words)
        )
        x += width
    over = f"; all together {size(beyond)}, more than there is" if beyond > total else ""
    return Bar(
        title="Memory of one device",
        summary=f"{size(int(total))} in all, of which the engine may use {size(have.budget)}{over}",
        pieces=tuple(pieces), unknown=have.unknown, rule=round(have.budget * scale, 2),
        rule_label=f"utilization {plan.asked.serving.utilization:g}",
    )  # fmt: skip


def capacity(plan: Plan) -> Plot | None:
    """Requests held at once against their length, with the margin kept; the ring or dot is what was asked."""
    held = {n: many for n, many in plan.most.by_length.items() if many}
    if not held:
        return None
    asked, answer = plan.asked, plan.answer
    wide, high = across([*held, asked.length]), up([*held.values(), asked.requests])
    dots = tuple(
        Dot(x=wide.at(n), y=high.at(many), label=f"{count(many)} requests of {count(n)} tokens")
        for n, many in sorted(held.items())
    )
    rows = [Row(name="held at once", tone=0, dots=dots, line=polyline((d.x, d.y) for d in dots))]
    if answer is not None:
        place = Dot(
            x=wide.at(asked.length), y=high.at(asked.requests), name="asked", hollow=answer.level != "pass",
            end=wide.at(asked.length) > WIDTH * 0.7,
            label=f"asked: {count(asked.requests)} requests of {count(asked.length)} tokens, {answer.level}",
        )  # fmt: skip
        rows.append(Row(name=f"asked: {answer.level}", tone=1, dots=(place,)))
    most = plan.most.tokens
    return Plot(
        title="Capacity of one replica",
        summary="how many requests of a length the KV cache holds with the margin kept"
        + (f"; {count(most)} tokens in all" if most is not None else ""),
        across="tokens a request", up="requests at once", x_ticks=wide.ticks(), y_ticks=high.ticks(), rows=tuple(rows),
        key="above the line nothing fits; a ring is a question that does not fit",
    )  # fmt: skip


def roofline(speed: Speed, peak: float, memory: float) -> Plot | None:
    """The parts of both steps where their bounds put them: each on the roof of its precision."""
    seen = [(x, s) for s, step in (("prefill", speed.prefill), ("decode", speed.decode)) for x in _known(step)]
    if not seen:
        return None
    ridge = peak / memory
    speeds = [x.flops / x.seconds for x, _ in seen]
    flat = max([peak, *speeds])
    right = max([ridge * 4, *(x.intensity for x, _ in seen)])
    left = min([ridge / 4, *(x.intensity for x, _ in seen)])
    wide, high = across([left, right]), up([min(left * memory, *speeds), flat])
    rows = [
        Row(
            name="roof", tone=7,
            line=polyline([(wide.at(left), high.at(left * memory)), (wide.at(ridge), high.at(peak)),
                           (wide.at(right), high.at(peak))]),
        )
    ]  # fmt: skip
    for tone, name, step in ((0, "prefill", speed.prefill), (1, "decode", speed.decode)):
        dots: list[Dot] = []
        taken: list[tuple[float, float]] = []
        for x in sorted(_known(step), key=lambda p: -p.seconds):
            place = (wide.at(x.intensity), high.at(x.flops / x.seconds))
            clear = all(abs(place[0] - a) > 60 or abs(place[1] - b) > 14 for a, b in taken)
            if clear:
                taken.append(place)
            share = x.seconds / step.seconds if step.seconds else 0
            dots.append(
                Dot(
                    x=place[0], y=place[1], name=x.part if clear and share > 0.02 else "", end=place[0] > WIDTH * 0.7,
                    label=f"{name}, {x.part}: {short(x.intensity)} FLOP per byte, {short(x.flops / x.seconds)}FLOP/s, "
                    f"{share:.0%} of the step, bound by {x.binding}",
                )
            )  # fmt: skip
        rows.append(Row(name=name, tone=tone, dots=tuple(dots)))
    return Plot(
        title="Roofline of one device",
        summary=f"the roof is {short(peak)}FLOP/s, the slope {short(memory)}B/s, the ridge {short(ridge)} FLOP/byte",
        across="FLOP per byte read", up="FLOP/s at most", x_ticks=wide.ticks(), y_ticks=high.ticks("F/s"),
        rows=tuple(rows), key="each dot is a part of the step; a part in another precision has a roof of its own",
    )  # fmt: skip


class _Line(Record):
    part: str
    intensity: float
    flops: float
    seconds: float
    binding: str


def _known(step: Bound) -> list[_Line]:
    return [
        _Line(part=x.part, intensity=x.intensity, flops=x.flops, seconds=x.seconds, binding=x.binding)
        for x in step.lines
        if x.intensity and x.flops and x.seconds and x.binding != "wire"
    ]


def by_batch(curves: Curves) -> Plot:
    """The bound of the planned layout; rings are batches that do not fit."""
    points = curves.by_batch
    wide, high = across([p.batch for p in points]), up([p.tpot_s for p in points])
    dots = tuple(
        Dot(x=wide.at(p.batch), y=high.at(p.tpot_s), label=_words(p), hollow=not p.fits) for p in points
    )  # fmt: skip
    fit = max((p.batch for p in points if p.fits), default=None)
    told = "none of them fits" if fit is None else f"up to {count(fit)} requests fit"
    line = polyline((d.x, d.y) for d in dots)
    return Plot(
        title=f"TPOT against batch, {points[0].layout}",
        summary=f"{count(curves.prompt)} tokens in, {count(curves.output)} out; {told}",
        across="requests at once (per replica)", up="TPOT at least", x_ticks=wide.ticks(), y_ticks=high.ticks("s"),
        rows=(Row(name=points[0].layout, tone=0, dots=dots, line=line),),
        key="a ring is a batch whose KV cache does not fit",
    )  # fmt: skip


def pareto(curves: Curves) -> Plot:
    """Latency against throughput per card: every fitting point, and the frontier as a line."""
    points = curves.pareto
    wide, high = across([p.tpot_s for p in points]), up([p.tokens_per_s_device for p in points])
    names = list(dict.fromkeys(p.layout for p in points))
    front = polyline((wide.at(p.tpot_s), high.at(p.tokens_per_s_device)) for p in points if p.best)
    rows = [Row(name="frontier", tone=7, line=front)]
    # Layouts beyond the colours share the last one; their names are on the dots all the same.
    for number, name in enumerate(names):
        mine = tuple(
            Dot(
                x=wide.at(p.tpot_s), y=high.at(p.tokens_per_s_device), label=f"{p.layout}, {_words(p)}",
                hollow=not p.best,
            )
            for p in points if p.layout == name
        )  # fmt: skip
        rows.append(Row(name=name, tone=min(number, MOST_LAYOUTS), dots=mine))
    return Plot(
        title="Latency and throughput per card",
        summary=f"{len(points)} points that fit, {sum(p.best for p in points)} on the frontier",
        across="TPOT at least", up="tokens/s per device at most", x_ticks=wide.ticks("s"), y_ticks=high.ticks(),
        rows=tuple(rows), key="a full dot is on the frontier: nothing that fits is better in both",
    )  # fmt: skip


def _words(p: Reach) -> str:
    held = "" if p.fits else ", does not fit"
    return (
        f"{count(p.batch)} at once: TPOT at least {short(p.tpot_s)}s, at most {short(p.tokens_per_s_device)} tokens/s "
        f"per device, bound by {p.binding}{held}"
    )
