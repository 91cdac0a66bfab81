"""The optimisation loop from its ledger: goal, baseline, every round with its evidence, the stop rules."""

from __future__ import annotations

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.quantity import measured
from seatrial.core.record import to_plain
from seatrial.measure.loop import Round, State, next_step, read_event, state_of, stop_rules
from seatrial.report.blocks import Block, Cell, Column, Fold, Notice, Pairs, Section, Table, Tone, unknown
from seatrial.report.gather import Gathered
from seatrial.report.generic import blocks_of
from seatrial.report.sections.common import pair


def loop_sections(run: Gathered) -> list[Section]:
    """One section; none for a run that is no loop."""
    events = [to_plain(e.body) for e in run.entries if e.kind == "loop"]
    if run.manifest.arguments.get("kind") != "loop" or not events:
        return []
    try:
        state = state_of([read_event(e, "record") for e in events])
    except (FileFormatError, UsageError) as exc:
        blocks: list[Block] = [Notice(tone="fail", title="The ledger cannot be read", text=exc.message)]
        return [Section(id="loop", title="Loop", blocks=(*blocks, *blocks_of(events, "events")))]
    return [Section(id="loop", title="Loop", blocks=tuple(_blocks(state)), lead=next_step(state))]


def _blocks(state: State) -> list[Block]:
    goal, base = state.goal, state.baseline
    rows = [
        pair("goal", goal.goal, note=f"{goal.framework}, {goal.model}"),
        pair("judged by", goal.judged_by, note=f"service level: {goal.sla or 'none'}"),
        pair("reference", goal.reference, "the goal names none", goal.reference_source),
        pair("least accuracy", goal.least_accuracy),
        pair(
            "baseline", measured(base.value) if base else None, "not measured yet", _of(base.evidence) if base else ""
        ),
        pair("best", measured(state.best) if state.best is not None else None, "not measured yet"),
        pair("gap to the reference", f"{state.gap:+.1%}" if state.gap is not None else None, "it has no reference"),
        pair(
            "stopped", state.stopped.reason if state.stopped else "no", note=state.stopped.rule if state.stopped else ""
        ),
    ]
    found: list[Block] = [Pairs(rows=tuple(rows))]
    if state.rounds:
        titles = ("round", "change", "accuracy", "performance", "what was learnt")
        columns = tuple(Column(title=t) for t in titles)
        found.append(Table(title="Rounds", columns=columns, rows=tuple(_round(r) for r in state.rounds)))
    rules = tuple(
        (Cell(text=h.rule), Cell(text="holds" if h.holds else "no", tone="pass" if h.holds else ""), Cell(text=h.why))
        for h in stop_rules(state)
    )
    columns = (Column(title="rule"), Column(title="may it stop?"), Column(title="why"))
    found.append(Table(title="Stop rules", columns=columns, rows=rules))
    events = [to_plain(e) for e in state.events]
    return [*found, Fold(title="The ledger, event by event", blocks=tuple(blocks_of(events, "events")))]


def _round(turn: Round) -> tuple[Cell, ...]:
    patch, looked, ran, lesson = turn.patch, turn.accuracy, turn.performance, turn.lesson
    accuracy = unknown("not looked at yet")
    if looked is not None:
        against = f", against {looked.against}" if looked.against else ""
        tone: Tone = "pass" if looked.passed else "fail"
        accuracy = Cell(text=f"{looked.level} {'passed' if looked.passed else 'failed'}", tone=tone,
                        note=f"{looked.reason} {_of(looked.evidence)}{against}".strip())  # fmt: skip
    speed = unknown("not measured yet")
    if ran is not None:
        tones: dict[str, Tone] = {"pass": "pass", "fail": "fail"}
        speed = Cell(text=ran.reason, tone=tones.get(ran.answer, "inconclusive"), note=_of(ran.evidence))
    learnt = unknown("the round is open")
    if lesson is not None:
        learnt = Cell(text=lesson.text, note="kept" if lesson.kept else "rolled back")
    told = Cell(text=patch.change or patch.diff[:12], note=f"{patch.hypothesis}; expected {patch.expected}")
    return (Cell(text=str(turn.number)), told, accuracy, speed, learnt)


def _of(evidence: str) -> str:
    return f"run {evidence}"
