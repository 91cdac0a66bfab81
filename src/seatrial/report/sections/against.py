"""The engine against the reference: parity's distances in units of rounding, and the module where they part."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from seatrial.report.blocks import Block, Cell, Column, Fold, Pairs, Table
from seatrial.report.charts import Curve, curve_points
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of
from seatrial.report.sections.common import leftover, pair
from seatrial.report.words import count

AROUND = 5  # rows shown before and behind the first module outside


def parity(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("checkpoint")
    positions = facts.objects("positions")
    rows = []
    for band in facts.objects("bands"):
        b = Facts(band)
        amplitudes = [f"{a:.2f}" for a in b.items("amplitudes") if isinstance(a, (int, float))]
        far = f"{_number(b.whole('far')).text}, by rounding {_number(b.whole('noise_far')).text}"
        rows.append((Cell(text=b.text("part")), _number(b.whole("positions")), *_three(amplitudes), Cell(text=far)))
    titles = ("part", "positions", "at 50 %", "at 75 %", "at 90 %", "far positions")
    columns = tuple(Column(title=t, is_number=t != "part") for t in titles)
    found: list[Block] = [Table(title="Distance in units of the noise", columns=columns, rows=tuple(rows))]
    divergences = facts.objects("divergences")
    parted = [_divergence(Facts(d)) for d in divergences[:MAX_ROWS]]
    more = f"{count(len(divergences) - MAX_ROWS)} more are in the facts file" if len(divergences) > MAX_ROWS else ""
    if parted:
        names = ("prompt", "token", "engine", "reference", "margin (nats)", "is")
        columns = tuple(Column(title=t, is_number=t not in ("is",)) for t in names)
        found.append(Table(title="Where greedy answers part", columns=columns, rows=tuple(parted), left_out=more))
    agreement, overlap = facts.number("agreement"), facts.number("top_overlap")
    found.append(
        Pairs(
            rows=(
                pair("engine", f"{facts.text('engine')}, {facts.text('serving_dtype')}", note=facts.text("how")),
                pair("reference", f"{facts.text('reference')}, {facts.text('truth_dtype')}"),
                pair("best token agrees", None if agreement is None else f"{100 * agreement:.1f} %"),
                pair("best five overlap", None if overlap is None else f"{100 * overlap:.1f} %"),
                pair("positions", f"{count(len(positions))}, each in the facts file"),
                pair("prompts", facts.take("prompts")),
            )
        )
    )
    return [*found, *leftover(facts)]


def _three(values: list[str]) -> tuple[Cell, Cell, Cell]:
    shown = [*values, "–", "–", "–"]
    return Cell(text=shown[0]), Cell(text=shown[1]), Cell(text=shown[2])


def _divergence(d: Facts) -> tuple[Cell, ...]:
    margin, tied = d.number("margin"), d.flag("near_tie")
    return (
        *(_number(d.whole(name)) for name in ("prompt", "place", "engine_token", "reference_token")),
        Cell(text="unknown" if margin is None else f"{margin:.3f}"),
        _unjudged() if tied is None else Cell(text="a near-tie" if tied else "wide", tone="" if tied else "warning"),
    )


def _number(value: int | None) -> Cell:
    return Cell(text="unknown" if value is None else str(value))


def _unjudged() -> Cell:
    return Cell(text="unknown", tone="unknown")


def locate(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("checkpoint")
    rows = facts.objects("rows")
    first = facts.child("first")
    place = next((i for i, r in enumerate(rows) if first.peek("key") and _same(r, step.facts["first"])), None)
    found: list[Block] = []
    if place is not None:
        found += _named(Facts(step.facts["first"]), facts.text("cause"), facts.text("cause_by"))
    else:
        found += _chosen(facts.child("sampled"), facts.text("cause"), facts.text("cause_by"))
    if len(rows) > 1:
        found.append(_curve(rows, place))
    low, high = (
        (max(0, place - AROUND), place + AROUND) if place is not None else (max(0, len(rows) - AROUND), len(rows))
    )
    found.append(_table(rows[low:high], "Around it" if place is not None else "The last outputs", ""))
    if len(rows) > high - low:
        left = f"{count(len(rows) - MAX_ROWS)} more are in the facts file" if len(rows) > MAX_ROWS else ""
        whole = _table(rows[:MAX_ROWS], "", left)
        found.append(Fold(title=f"All {count(len(rows))} outputs, in the order of the calls", blocks=(whole,)))
    for key in first:
        first.take(key)
    tokens = facts.whole("prompt_tokens")
    found.append(
        Pairs(
            rows=(
                pair("reference", f"{facts.text('reference')}, {facts.text('truth_dtype')}"),
                pair("served in", facts.text("serving_dtype") or None),
                pair("prompt", facts.text("prompt") or None, note=f"{tokens} tokens" if tokens else ""),
                pair("module map", facts.text("account") or None, "by names", note=_ways(rows)),
                pair("without a counterpart", facts.texts("unmatched") or "none", note="outputs of the engine"),
                pair("the reference's alone", facts.texts("only_reference") or "none"),
                pair(
                    "not judged",
                    facts.texts("unjudged") or "none",
                    note="tokens sent elsewhere by near-ties, or no reference",
                ),
            )
        )
    )
    return [*found, *leftover(facts)]


def _ways(rows: list[dict[str, Any]]) -> str:
    """How the modules were matched, counted."""
    ways = Counter(str(r["by"]) for r in rows if r.get("by"))
    return ", ".join(f"{n} outputs by {way}" for way, n in sorted(ways.items(), reverse=True))


def _same(row: dict[str, Any], first: Any) -> bool:
    return isinstance(first, dict) and all(row.get(k) == first.get(k) for k in ("key", "step"))


def _chosen(sampled: Facts, cause: str, by: str) -> list[Block]:
    """Where no module parts: the token that is not the engine's own best, if there is one."""
    if by != "tokens":
        return []
    margin = sampled.number("margin")
    said = f"token {sampled.whole('place')} is {sampled.text('token')}, its best is {sampled.text('best')}"
    apart = "" if margin is None else f"{margin:.3f} nats below"
    rows = (
        pair("no module parts, but", said, note=apart),
        pair("root-cause class", cause or None, "not recorded", note="by the tokens: the logits are right"),
    )
    return [Pairs(rows=rows)]


def _named(first: Facts, cause: str, by: str) -> list[Block]:
    how = {"suspect": "a suspect explains the error", "place": "by the place alone, no suspect explains the error"}
    found: list[Block] = [
        Pairs(
            rows=(
                pair("it parts at", first.text("key") or None, note=first.text("module")),
                pair("root-cause class", cause or None, "not recorded", note=how.get(by, "")),
            )
        )
    ]
    rows = []
    for suspect in first.objects("suspects"):
        s = Facts(suspect)
        left = s.number("left")
        explained = "unknown" if left is None else f"{100 * (1 - left):.1f} %"
        rows.append(
            (Cell(text=s.text("name")), Cell(text=s.text("cause")), Cell(text=explained), Cell(text=s.text("says")))
        )
    if rows:
        columns = (
            Column(title="suspect"),
            Column(title="class"),
            Column(title="explains", is_number=True),
            Column(title="what it is"),
        )
        found.append(Table(title="The usual suspects there", columns=columns, rows=tuple(rows)))
    return found


def _ratio(row: dict[str, Any]) -> float:
    """Error over limit; an error that is no number counts as a million times."""
    one = Facts(row)
    relative, limit = one.number("relative"), one.number("limit")
    if relative is None or not limit or not math.isfinite(relative):
        return 1e6
    return min(relative / limit, 1e6)


def _curve(rows: list[dict[str, Any]], place: int | None) -> Curve:
    heights = [max(0.0, math.log10(max(_ratio(r), 1e-9)) + 1.0) for r in rows]
    worst = max(map(_ratio, rows))
    # A curve that stays at the bottom has the axis of a whole decade, up to the limit.
    top = "the limit" if worst <= 0.1 else f"{worst:.3g} times the limit"
    where = f"it leaves the limit at output {place + 1} of {len(rows)}" if place is not None else "no fault is seen"
    return Curve(
        title="Error over the limit, output by output (logarithmic)",
        points=curve_points(list(enumerate(heights))),
        across=("first output", "last output"),
        up=("a tenth of the limit or less", top),
        summary=f"{len(rows)} outputs in the order of the calls, prefill before the decode step; {where}.",
    )


def _table(rows: list[dict[str, Any]], title: str, left_out: str) -> Table:
    shown = []
    for row in rows:
        r = Facts(row)
        out, excused = r.flag("out"), r.flag("excused")
        state = "inside" if not out else ("means something else" if excused else "outside")
        step = "decode" if r.whole("step") else "prefill"
        shown.append(
            (
                Cell(text=r.text("key"), note=f"{r.text('kind')}, {step}", is_code=True),
                *(
                    Cell(text="unknown" if v is None else f"{v:.2e}")
                    for v in map(r.number, ("relative", "noise", "limit"))
                ),
                Cell(text="unknown" if (c := r.number("cosine")) is None else f"{c:.5f}"),
                Cell(text="unknown" if (u := r.number("ulps")) is None else f"{u:.1f}"),
                _unjudged() if out is None else Cell(text=state, tone="fail" if out and not excused else ""),
            )
        )
    titles = ("output", "relative error", "noise", "limit", "cosine", "ULP (median)", "is")
    columns = tuple(Column(title=t, is_number=t not in ("output", "is")) for t in titles)
    return Table(title=title, columns=columns, rows=tuple(shown), left_out=left_out)
