"""The steps of a run at a glance: which there are, how each ended, and the verdict table."""

from __future__ import annotations

import hashlib
from typing import Any

from seatrial.evidence import StoredStep
from seatrial.report.blocks import Block, Cell, Column, Notice, Section, Table, Tone
from seatrial.report.gather import Gathered
from seatrial.report.sections.common import link
from seatrial.report.words import count, seconds

# What the main job always does, then the stages that can be left out. The order of the report.
STEPS = ("inspect", "engine", "support", "dry", "dummy", "real")
# What may stand behind one of them. Runs of an older seatrial have no plan.
BEHIND = {"inspect": ("plan",), "dummy": ("dummy-ladder",), "real": ("real-ladder", "plan-check")}
STAGES = ("dry", "dummy", "real")


def order(run: Gathered) -> list[str]:
    """The steps that are always there, each followed by what belongs behind it where there is that, then the others.

    Only the main job has steps that are always there; a run of another kind has those that it recorded.
    """
    if kind_of(run):
        # The comparison of a bench is what it was for; it comes last only in time.
        return sorted(run.steps, key=lambda step: step != "verdict")
    named = [name for step in STEPS for name in (step, *(b for b in BEHIND.get(step, ()) if b in run.steps))]
    return [*named, *(s for s in run.steps if s not in named)]


def kind_of(run: Gathered) -> str:
    """The kind of a run beside the main job (bench, loop, accuracy, ...); empty for the main job."""
    kind = run.manifest.arguments.get("kind")
    return kind if isinstance(kind, str) else ""


def _asked(run: Gathered) -> Any:
    stages = run.manifest.arguments.get("stages")
    return stages if isinstance(stages, list) else list(STAGES)


def overview(run: Gathered) -> Section:
    """The verdict table, then where the time went."""
    rows = []
    steps = order(run)
    # All of a step's files are in its own section; a bench of many runs would fill the first page with their names.
    most = 8 if len(steps) <= len(STEPS) + 6 and not kind_of(run) else 3
    for step in steps:
        known = run.steps.get(step)
        if known is None:
            word, why = absent(step, run)
            rows.append((Cell(text=step, href=f"#step-{anchor(step)}"), Cell(text=word, tone="not-run"),
                         Cell(text="–"), Cell(text=why), Cell(text="none")))  # fmt: skip
            continue
        stored = known.stored
        tone, word = step_tone(stored)
        links = tuple(link(ref) for ref in (stored.facts, *stored.artifacts[:most]))
        more = len(stored.artifacts) - most
        rows.append(
            (
                Cell(text=step, href=f"#step-{anchor(step)}"),
                Cell(text=word, tone=tone),
                Cell(text=seconds(stored.duration_s) if tone != "not-run" else "–"),
                Cell(text=stored.summary, note=_why(stored)),
                Cell(text="", more=links, note=f"and {count(more)} more below" if more > 0 else ""),
            )
        )
    titles = ("step", "verdict", "time", "what was seen", "evidence")
    columns = tuple(Column(title=t, is_number=t == "time") for t in titles)
    blocks: list[Block] = [
        Notice(tone="fail", title="The records of this run are damaged", text=p) for p in run.problems[:20]
    ]
    blocks.append(Table(columns=columns, rows=tuple(rows)))
    return Section(id="verdict", title="Verdict", blocks=tuple(blocks))


def absent(step: str, run: Gathered) -> tuple[str, str]:
    if step in STAGES and step not in _asked(run):
        return "not asked for", "the run was started without this stage (--stages)"
    return "not run", "the run ended before this step was recorded"


def step_tone(stored: StoredStep) -> tuple[Tone, str]:
    # The workflow records a step it did not begin with open inputs.
    if not stored.inputs:
        return "not-run", "not run"
    return stored.outcome.verdict.value, stored.outcome.verdict.value


def _why(stored: StoredStep) -> str:
    reason = stored.outcome.reason
    return reason if reason and reason not in stored.summary else ""


def anchor(step: str) -> str:
    """A step's name as an id of HTML; one with other characters gets a hash, lest two steps share an anchor."""
    plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in step)
    return plain if plain == step else f"{plain}-{hashlib.sha256(step.encode(errors='replace')).hexdigest()[:6]}"
