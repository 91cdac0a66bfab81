"""Agreement: how many greedy answers are equal under two settings, and where the others part and by how much."""

from __future__ import annotations

from seatrial.report.blocks import Block, Cell, Column, Notice, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of
from seatrial.report.sections.common import leftover, rest_note

# As the step judges it; a margin above this, and above two steps of the logits' format, is no rounding.
ROUNDING = 0.1


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("stage")
    found: list[Block] = [
        Notice(tone="inconclusive", title="Not compared", text=why) for why in facts.texts("not_compared")[:MAX_ROWS]
    ]
    rows, parted = [], []
    comparisons = facts.objects("comparisons")
    for row in comparisons[:MAX_ROWS]:
        one = Facts(row)
        pair = f"{one.text('first')} and {one.text('second')}"
        prompts, equal, worst = one.whole("prompts"), one.whole("equal"), one.number("worst_logprob")
        rows.append(
            (
                Cell(text=pair, note="; ".join(one.texts("troubles"))[:300]),
                Cell(text="unknown" if equal is None or prompts is None else f"{equal} of {prompts}"),
                Cell(text="unknown", tone="unknown") if worst is None else Cell(text=f"{worst:.4f}"),
            )
        )
        rounding = max(ROUNDING, 2 * (one.number("step") or 0.0))
        for divergence in one.objects("divergences")[:MAX_ROWS]:
            d = Facts(divergence)
            # Evidence from before both runs' margins were kept holds the first run's alone.
            seen = [d.number(name) for name in ("margin", "other_margin") if name in divergence]
            wide = any(margin is None or margin > rounding for margin in seen)
            told = " and ".join("not among the best" if m is None else f"{m:.4f}" for m in seen)
            parted.append(
                (
                    Cell(text=pair, note=rest_note(one)),
                    Cell(text=str(d.whole("prompt"))),
                    Cell(text=str(d.whole("place"))),
                    Cell(text=repr(d.text("first")), note="the first setting", is_code=True),
                    Cell(text=repr(d.text("second")), note="the second", is_code=True),
                    Cell(
                        text=told,
                        note=f"a fault: rounding is up to {rounding:g}" if wide else f"rounding, up to {rounding:g}",
                        tone="fail" if wide else "",
                    ),
                )
            )
    titles = ("compared", "equal answers", "largest difference of a log-probability")
    columns = tuple(Column(title=t, is_number=t != "compared") for t in titles)
    found.append(Table(columns=columns, rows=tuple(rows), left_out=_more(len(comparisons), len(rows))))
    if parted:
        names = ("compared", "prompt", "token", "one", "other", "apart, as either saw it")
        columns = tuple(Column(title=t, is_number=t in ("prompt", "token")) for t in names)
        found.append(
            Table(
                title="Where they part first",
                columns=columns,
                rows=tuple(parted[:MAX_ROWS]),
                left_out=_more(len(parted), MAX_ROWS),
            )
        )
    return [*found, *leftover(facts)]


def _more(number: int, shown: int) -> str:
    return f"{number - shown} more are in the facts file" if number > shown else ""
