"""The feature matrix: each feature with its status, how it was switched on, and the evidence that decided."""

from __future__ import annotations

from typing import Any

import msgspec

from seatrial.core.command import Command
from seatrial.evidence import StoredStep
from seatrial.report.blocks import Block, Cell, Column, Fold, Pairs, Table, Tone
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of, cell
from seatrial.report.provenance import shell
from seatrial.report.sections.common import attached, leftover, pair, rest_note
from seatrial.report.words import seconds

TONES: dict[str, Tone] = {
    "supported": "pass",
    "unsupported": "fail",
    "checkpoint-missing": "inconclusive",
    "inconclusive": "inconclusive",
    "not-attempted": "not-run",
    "not-applicable": "not-applicable",
}


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("checkpoint")
    found: list[Block] = [_situation(facts)]
    rows = facts.objects("rows")
    found.append(_matrix(rows, step.stored))
    if starts := facts.child("starts"):
        found.append(_starts(starts, step.stored))
    return [*found, *leftover(facts)]


def _situation(facts: Facts) -> Pairs:
    here = facts.child("situation")
    here.take("checkpoint"), here.take("scratch")
    length = here.whole("max_model_len")
    versions = [here.text("vllm_version"), here.text("plugin_version")]
    return Pairs(
        rows=(
            pair("weights", facts.text("stage") or None, "not recorded"),
            pair("platform", here.text("platform") or None, "not recorded"),
            pair("vLLM", versions[0] or None, "not seen beside the interpreter"),
            pair("plugin", versions[1] or "none seen beside the interpreter"),
            pair("tensor parallel of the base run", here.whole("tp"), "not recorded"),
            pair("context length asked for", "left to the engine" if length is None else length),
            pair("devices", here.whole("devices"), "not recorded"),
            pair("eager mode", here.flag("eager"), "not recorded"),
        )
    )


def _matrix(rows: list[dict[str, Any]], stored: StoredStep) -> Table:
    shown = []
    for row in rows[:MAX_ROWS]:
        one = Facts(row)
        status = one.text("status")
        reason, start = one.text("reason"), one.text("start")
        proofs = [f"{p.get('where')}: {str(p.get('says'))[:400]}" for p in one.objects("proofs")]
        said = reason or (proofs.pop(0) if proofs else "")
        log = attached(stored, f"{start}-server.log") if start else None
        silent = one.texts("silent")
        words = f"log lines this engine does not have: {', '.join(silent)}" if silent and status != "supported" else ""
        shown.append(
            (
                Cell(text=one.text("title"), note=one.text("name")),
                Cell(text=status, tone=TONES.get(status, "unknown")),
                _switch(one.take("switch"), start),
                Cell(text=said, note="; ".join(filter(None, [*proofs, words, rest_note(one)]))),
                Cell(text=log.text.removeprefix(f"{start}-"), href=log.href, note=start) if log else Cell(text="–"),
            )
        )
    columns = tuple(Column(title=t) for t in ("feature", "status", "switched on by", "evidence or reason", "log"))
    left = f"{len(rows) - MAX_ROWS} more are in the facts file" if len(rows) > MAX_ROWS else ""
    return Table(title="Matrix", columns=columns, rows=tuple(shown), left_out=left)


def _switch(switch: Any, start: str) -> Cell:
    """What was added to the base run, as one would type it; secrets are no part of a switch, but are looked for."""
    if switch is None:
        return Cell(text="on in the base run" if start else "–")
    one = Facts(switch)
    args, drop = tuple(one.texts("args")), one.texts("drop")
    env = one.peek("env")
    if isinstance(env, dict) and all(isinstance(v, str) for v in env.values()):
        one.take("env")
    else:
        env = {}
    typed = shell(Command(purpose="", argv=args, env=env)) if args or env else ""
    tp = one.whole("tp")
    words = [f"tensor parallel {tp}"] if tp else []
    words += [f"without --{name}" for name in drop]
    merged = one.child("merged")
    for name in merged:
        words.append(f"--{name} with {msgspec.json.encode(merged.take(name)).decode()} laid over it")
    words += [rest_note(one)] if one.rest() else []
    return Cell(text=typed, note=", ".join(words), is_code=True) if typed else Cell(text=", ".join(words) or "–")


def _starts(starts: Facts, stored: StoredStep) -> Fold:
    """How each start of the server ended; the whole facts of each are in the facts file."""
    shown = []
    for name in list(starts)[:MAX_ROWS]:
        one = Facts(starts.take(name))
        ending, ready = one.text("ending"), one.number("ready_s")
        log = attached(stored, f"{name}-server.log")
        shown.append(
            (
                Cell(text=name),
                Cell(text=ending, tone="pass" if ending == "ready" else "fail", note=one.text("reason")[:500]),
                Cell(text=seconds(ready) if ready is not None else "never"),
                cell(one.take("tp"), "not recorded"),
                log or Cell(text="–"),
            )
        )
    titles = ("start", "ending", "ready after", "tensor parallel", "log")
    table = Table(columns=tuple(Column(title=t) for t in titles), rows=tuple(shown))
    return Fold(title="Starts of the server", blocks=(table,))
