"""The capacity sweep: what was tried, what served, and why the baseline did not if it did not."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Column, Pairs, Table
from seatrial.report.charts import Lane, Lanes, LogScale, Mark, Tick
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of
from seatrial.report.sections.common import attached, leftover, pair, rest_note
from seatrial.report.words import count, seconds


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    context, sequences = facts.whole("baseline_context"), facts.whole("baseline_sequences")
    declared, longest, most = facts.whole("declared_context"), facts.whole("longest"), facts.whole("most_sequences")
    served, cause = facts.flag("baseline_served"), facts.text("root_cause")
    trials = facts.objects("trials")
    found: list[Block] = [
        Pairs(
            rows=(
                pair("weights", facts.text("stage") or None, "not recorded"),
                pair("baseline", f"{_n(context)} tokens by {_n(sequences)} sequences", note=_outcome(served)),
                pair("root cause", "none is needed: it serves" if served else cause or None, "not recorded"),
                pair("the model's own bound", declared, "config.json declares none", "tokens, config.json"),
                pair("longest context served", longest, "no trial served", "tokens, with the baseline's sequences"),
                pair("most sequences served", most, "no trial served", "at that context"),
            )
        )
    ]
    if chart := _chart(trials, context, declared):
        found.append(chart)
    found.append(_table(trials, step))
    return [*found, *leftover(facts)]


def _outcome(served: bool | None) -> str:
    return "not recorded" if served is None else "served" if served else "not served"


def _n(number: int | None) -> str:
    return count(number) if number is not None else "unknown"


def _chart(trials: list[dict[str, Any]], baseline: int | None, declared: int | None) -> Lanes | None:
    """A lane for each number of sequences; the bar goes to the longest context that served."""
    known = [
        (t["context"], t["sequences"], bool(t.get("served")))
        for t in trials
        if isinstance(t.get("context"), int) and isinstance(t.get("sequences"), int)
    ]
    if not known:
        return None
    bounds = [(baseline, "baseline"), (declared, "config.json")]
    scale = LogScale([*(c for c, _, _ in known), *(float(b) for b, _ in bounds if b)])
    lanes = []
    for number in sorted({s for _, s, _ in known}):
        here = sorted((c, served) for c, s, served in known if s == number)
        reached = max((c for c, served in here if served), default=None)
        marks = tuple(
            Mark(at=scale.at(c), is_good=served, label=f"{count(c)} tokens {'served' if served else 'not served'}")
            for c, served in here
        )
        label = f"{count(number)} sequences" if number != 1 else "1 sequence"
        lanes.append(Lane(label=label, marks=marks, reached=scale.at(reached) if reached is not None else None))
    rules: dict[int, list[str]] = {}
    for bound, what in bounds:
        if bound:
            rules.setdefault(bound, []).append(what)
    return Lanes(
        title="Context and sequences that were tried",
        axis="context, tokens",
        ticks=scale.ticks(),
        lanes=tuple(lanes),
        rules=tuple(Tick(at=scale.at(b), label=f"{' and '.join(w)}: {count(b)}") for b, w in rules.items()),
        key="bar: served up to here; ring: served; cross: not served",
    )


def _table(trials: list[dict[str, Any]], step: StepFacts) -> Table:
    rows = []
    for trial in trials[:MAX_ROWS]:
        one = Facts(trial)
        context, sequences, served = one.whole("context"), one.whole("sequences"), one.flag("served")
        held, ready, estimate = one.whole("kv_tokens"), one.number("ready_s"), one.whole("estimate")
        together = one.child("together")
        running, answered, sent = together.whole("most_running"), together.whole("answered"), together.whole("sent")
        whole = one.child("whole_context")
        took = whole.number("seconds")
        for load in (whole, together):
            for key in load:
                load.take(key)  # the rest of it is in the facts file, and the table says so
        log = attached(step.stored, f"{context}x{sequences}-server.log")
        rows.append(
            (
                Cell(text=_n(context)),
                Cell(text=_n(sequences)),
                Cell(text="served" if served else "not served", tone="pass" if served else "fail",
                     note=one.text("cause")[:400]),
                Cell(text=seconds(ready)) if ready is not None else Cell(text="never"),
                Cell(text=_n(held), note=f"the log's estimate: {_n(estimate)}" if estimate is not None else ""),
                Cell(text=seconds(took)) if took is not None else Cell(text="not asked", tone="unknown"),
                Cell(text=f"{answered} of {sent}", note=f"at most {running} running at once" if running else "")
                if sent is not None else Cell(text="not asked", tone="unknown"),
                Cell(text="log", href=log.href, note=rest_note(one)) if log else Cell(text="none kept", tone="unknown"),
            )
        )  # fmt: skip
    titles = ("context", "sequences", "outcome", "ready after", "KV cache tokens", "whole context", "together", "log")
    numbers = {"context", "sequences", "ready after", "KV cache tokens", "whole context"}
    left = f"{len(trials) - MAX_ROWS} more are in the facts file" if len(trials) > MAX_ROWS else ""
    left = left or "more of each trial's requests (slowest answer, tokens) is in the facts file"
    columns = tuple(Column(title=t, is_number=t in numbers) for t in titles)
    return Table(title="Trials, in the order they were made", columns=columns, rows=tuple(rows), left_out=left)
