"""The fallback ladder: every change that was tried after a failure, what came of it, and what that tells."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Column, Paragraph, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of
from seatrial.report.sections.common import attached, leftover

KINDS = {
    "repeat": "repeat: changes nothing",
    "workaround": "workaround: one can serve with it",
    "isolation": "isolation: only tells layers apart",
}


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    working = facts.take("working")
    layers = ", ".join(facts.texts("isolated_to"))
    facts.take("conclusion")  # The step's reason says it.
    found: list[Block] = []
    if isinstance(working, dict):
        text = "The gate above stays failed: what serves is another way to start, not the one that was asked for."
        found.append(Paragraph(text=text))
    elif layers:
        found.append(Paragraph(text=f"Isolated to {layers}: that is where the fault lies, and no mend."))
    found.append(_rungs(facts.objects("climbed"), step))
    facts.take("signature")
    return [*found, *leftover(facts)]


def _rungs(climbed: list[dict[str, Any]], step: StepFacts) -> Table:
    rows = []
    for number, row in enumerate(climbed[:MAX_ROWS], 1):
        one = Facts(row)
        rung, ending = one.child("rung"), one.text("ending")
        name, kind = rung.text("name"), rung.text("kind")
        served, same = ending == "ready", one.flag("same_signature")
        note = "" if served or same is None else "fails just as before" if same else "fails in another way"
        log = attached(step.stored, f"{name}-server.log")
        rows.append(
            (
                Cell(text=str(number)),
                Cell(text=rung.text("change"), note=KINDS.get(kind, kind)),
                Cell(text=ending, tone="pass" if served else "fail", note=note),
                Cell(text=one.text("reason")[:600] or ("it serves" if served else "no reason is recorded")),
                log or Cell(text="none kept", tone="unknown"),
            )
        )
    columns = (Column(title="rung", is_number=True), *(Column(title=t) for t in ("change", "ending", "why", "log")))
    left = f"{len(climbed) - MAX_ROWS} more are in the facts file" if len(climbed) > MAX_ROWS else ""
    return Table(title="Rungs, each with one change", columns=columns, rows=tuple(rows), left_out=left)
