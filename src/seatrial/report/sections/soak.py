"""The soak: how many requests were answered, how fast, and the engine's memory over them."""

from __future__ import annotations

from seatrial.report.blocks import Block, Cell, Column, Pairs, Table
from seatrial.report.charts import Curve, curve_points
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import blocks_of
from seatrial.report.sections.common import leftover, pair
from seatrial.report.words import count, seconds, size


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or "asked_for" not in step.facts:
        # The server did not get as far: these are the facts of its start.
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    median, late, growth = facts.number("median_s"), facts.number("p99_s"), facts.number("growth")
    took, died = facts.number("seconds"), facts.whole("died_at")
    troubles = facts.take("troubles")
    found: list[Block] = [
        Pairs(
            rows=(
                pair("requests asked for", facts.whole("asked_for"), "not recorded"),
                pair("sent", facts.whole("sent"), "not recorded"),
                pair("answered", facts.whole("answered"), "not recorded"),
                pair("died after", "it lived" if died is None else Cell(text=f"{died} requests", tone="fail")),
                pair("took", seconds(took) if took is not None else None, "not recorded"),
                pair("median of a request", seconds(median) if median is not None else None, "none was answered"),
                pair("99th percentile", seconds(late) if late is not None else None, "none was answered"),
                pair("memory's growth", f"{growth:+.1%}" if growth is not None else None, "too few looks at it",
                     "second quarter against the last"),
            )
        )
    ]  # fmt: skip
    if isinstance(troubles, dict) and troubles:
        rows = tuple((Cell(text=str(what)[:300]), Cell(text=str(n))) for what, n in list(troubles.items())[:50])
        columns = (Column(title="trouble"), Column(title="requests", is_number=True))
        found.append(Table(title="Requests that failed", columns=columns, rows=rows))
    samples = facts.objects("memory")
    memory = [
        (m["requests"], m["bytes"])
        for m in samples
        if isinstance(m.get("requests"), int) and isinstance(m.get("bytes"), int)
    ]
    if len(memory) > 1:
        top, (first, least), last = max(b for _, b in memory), memory[0], memory[-1][0]
        # The gate has asked its own questions by then.
        when = "after the gate's own requests" if not first else f"after {count(first)}"
        unread = len(samples) - len(memory)
        lost = f"; {count(unread)} looks at it could not be read" if unread else ""
        found.append(
            Curve(
                title="Resident memory of all engine processes",
                points=curve_points([(float(n), float(b)) for n, b in memory]),
                across=("0 requests", f"{count(last)} requests"),
                up=("0", size(top)),
                summary=f"{size(least)} {when}, {size(memory[-1][1])} after {count(last)} requests of the soak, "
                f"at most {size(top)}{lost}",
            )
        )
    return [*found, *leftover(facts)]
