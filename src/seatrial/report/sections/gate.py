"""A gate: how the server's start ended, what happened when, what was asked and answered, and how it stopped."""

from __future__ import annotations

from typing import Any

from seatrial.evidence import StoredStep
from seatrial.report.blocks import Block, Cell, Code, Column, Fold, Notice, Pairs, Paragraph, Table, Tone
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of, cell
from seatrial.report.sections import sources
from seatrial.report.sections.common import attached, leftover, pair, rest_note
from seatrial.report.words import count, plural, seconds, size

NOT_SEEN = "never seen"
MOST_BODIES = 20
MAX_BODY = 8000


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts, stored = Facts(step.facts), step.stored
    found: list[Block] = [_ending(facts, stored)]
    if (layers := facts.whole("layers")) is not None:
        text = "What a part of the model proves is no proof of the whole; this gate cannot sign anything off."
        found.insert(0, Notice(tone="inconclusive", title=f"The model was cut to {plural(layers, 'layer')}", text=text))
    found += _first_error(facts.child("first_error"))
    if requests := facts.objects("requests"):
        found.append(_requests(requests, stored))
        found += _exchanges(requests, stored, run)
    found += _moments(facts)
    found += _resolved(facts.child("resolved"))
    found += sources.blocks(facts)
    if deviations := facts.take("deviations"):
        found.append(Fold(title="What the platform's rules changed or noticed", blocks=tuple(blocks_of(deviations))))
    notes = facts.texts("notes")
    found += [Notice(tone="info", title="Note", text=note) for note in notes[:MAX_ROWS]]
    facts.take("command")  # The step's own commands show it, with the way to run it.
    return [*found, *leftover(facts)]


def _ending(facts: Facts, stored: StoredStep) -> Pairs:
    ending = facts.text("ending")
    ready, waited = facts.number("ready_s"), facts.number("waited_s")
    left, exit_code = facts.take("processes_left"), facts.whole("exit_code")
    log, log_bytes = attached(stored, facts.text("log_attachment")), facts.whole("log_bytes")
    port_free = facts.flag("port_free_after")
    stop = f"{facts.text('stopped_by')}, {_s(facts.number('stop_s'))}"
    cpu, length = facts.number("seatrial_cpu_s"), facts.whole("max_model_len")
    pids = [str(p) for p in facts.items("engine_pids")]
    facts.take("stage")
    rows = [
        pair("ending", Cell(text=ending, tone="pass" if ending == "ready" else "fail") if ending else None,
             "the gate did not say", facts.text("reason")),
        pair("ready after", seconds(ready) if ready is not None else None, "the server never listed its model"),
        pair("served model", facts.text("served_model") or None, "not named"),
        pair("address", f"{facts.text('host')}:{facts.take('port')}"),
        pair("tensor parallel", facts.take("tp"), "not recorded"),
        pair("context length asked for", "left to the engine" if length is None else length),
        pair("server process", _pid(facts.whole("server_pid")), NOT_SEEN),
        pair("engine processes", ", ".join(pids) or None, NOT_SEEN),
        pair("exit", exit_code, "nobody saw the exit code", facts.text("exit_text")),
        pair("stopped", stop),
        pair("processes left behind", left, "not looked for"),
        pair("port free afterwards", port_free, "not looked at"),
        pair("seatrial's own CPU time while waiting", seconds(cpu) if cpu is not None else None, "not measured",
             f"over {_s(waited)} of waiting"),
        pair("raw log", log, "no log was kept", size(log_bytes) if log_bytes is not None else ""),
    ]  # fmt: skip
    return Pairs(rows=tuple(rows))


def _first_error(error: Facts) -> list[Block]:
    text = error.text("text")
    if not text:
        return []
    where = f"line {error.take('line')} of the raw log"
    process = error.text("process")
    kind = error.text("kind")
    title = f"First error in the engine's log ({', '.join(filter(None, [where, process, kind]))})"
    return [Code(title=title, text=text)]


def _requests(requests: list[dict[str, Any]], stored: StoredStep) -> Table:
    names = ("request", "sent at", "took", "answer", "tokens", "what was answered", "evidence")
    rows = []
    for request in requests[:MAX_ROWS]:
        one = Facts(request)
        status, trouble, how = one.whole("status"), one.text("trouble"), one.text("how")
        tone: Tone = "pass" if status == 200 and not trouble else "fail"
        answer = Cell(text=f"HTTP {status}" if status is not None else how, note=trouble, tone=tone)
        text, finish = one.text("text"), one.text("finish_reason")
        said = (
            Cell(text=text if len(text) <= 400 else f"{text[:400].rstrip()}…")
            if text
            else Cell(text="empty", tone="unknown")
        )
        links = [attached(stored, one.text(f"{which}_attachment")) for which in ("request", "response")]
        shown = tuple(
            Cell(text=word, href=c.href, note=c.note)
            for word, c in zip(("request", "response"), links, strict=True)
            if c is not None
        )
        cells = (
            Cell(text=one.text("name"), note=f"{one.text('method')} {one.text('path')}"),
            Cell(text=_s(one.number("sent_at_s"))),
            Cell(text=_s(one.number("duration_s"))),
            answer,
            cell(one.take("completion_tokens"), "the answer does not say"),
        )
        notes = "; ".join(filter(None, [f"finish reason: {finish}" if finish else "", rest_note(one)]))
        kept = Cell(text="", more=shown) if shown else Cell(text="none kept", tone="unknown")
        rows.append((*cells, Cell(text=said.text, note=notes, tone=said.tone), kept))
    left = f"{len(requests) - MAX_ROWS} more are in the facts file" if len(requests) > MAX_ROWS else ""
    numbers = {"sent at", "took", "tokens"}
    columns = tuple(Column(title=n, is_number=n in numbers) for n in names)
    return Table(title="Requests", columns=columns, rows=tuple(rows), left_out=left)


def _exchanges(requests: list[dict[str, Any]], stored: StoredStep, run: Gathered) -> list[Block]:
    """The bodies, as they went over the wire, where they are small text."""
    by_name = {ref.name: ref for ref in stored.artifacts}
    found: list[Block] = []
    for request in requests[:MOST_BODIES]:
        for which in ("request", "response"):
            ref = by_name.get(str(request.get(f"{which}_attachment") or ""))
            if ref is None:
                continue
            text, name = run.artifact_text(ref), f"{request.get('name')}: {which}"
            if text is None:
                told = f"{name} is not shown here ({size(ref.bytes)}): too large, or no longer what was recorded."
                found.append(Paragraph(text=told))
                continue
            cut = f", its first {count(MAX_BODY)} characters" if len(text) > MAX_BODY else ""
            found.append(Code(title=name + cut, text=text[:MAX_BODY]))
    if len(requests) > MOST_BODIES:
        found.append(Paragraph(text=f"{len(requests) - MOST_BODIES} more requests are in the table above."))
    return [Fold(title="Requests and responses as sent and received", blocks=tuple(found))] if found else []


# What seatrial saw become true, in words.
MOMENTS = {
    "started": "the process was started",
    "port-open": "its port is open",
    "healthy": "/health answers",
    "model-listed": "/v1/models names the model",
    "text": "the text request was answered",
    "image": "the image request was answered",
    "video": "the video request was answered",
    "audio": "the audio request was answered",
    "second": "the second request was answered",
    "alive": "it is still alive",
    "ended": "it has ended",
}


def _moments(facts: Facts) -> list[Block]:
    """Milestones (what became true) and phases (what the log said) on one time axis."""
    rows = [(m, "seatrial", "note") for m in facts.objects("milestones")]
    rows += [(p, "the log", "line") for p in facts.objects("phases")]
    if not rows:
        return []
    rows.sort(key=lambda row: row[0]["at_s"] if isinstance(row[0].get("at_s"), (int, float)) else float("inf"))
    shown = []
    for moment, who, detail in rows[:MAX_ROWS]:
        one = Facts(moment)
        at, name, text = _s(one.number("at_s")), one.text("name"), one.text(detail)[:500] or "–"
        name = MOMENTS.get(name, name) if who == "seatrial" else name
        last = Cell(text=text, note=rest_note(one), is_code=detail == "line")
        shown.append((Cell(text=at), Cell(text=name), Cell(text=who), last))
    left = f"{len(rows) - MAX_ROWS} more are in the facts file" if len(rows) > MAX_ROWS else ""
    columns = (
        Column(title="at", is_number=True),
        Column(title="what"),
        Column(title="seen by"),
        Column(title="detail"),
    )
    return [
        Table(title="What happened when, from the server's start", columns=columns, rows=tuple(shown), left_out=left)
    ]


def _resolved(resolved: Facts) -> list[Block]:
    if not resolved:
        return []
    rows = (
        pair("architecture the log names", resolved.text("architecture") or None, "the log does not name it"),
        pair("upstream class overwritten by", resolved.text("overwritten_by") or "nobody, as far as the log says"),
        pair("Transformers backend", resolved.flag("transformers_backend"), "the log does not say"),
        pair("plugins that failed", resolved.take("failed_plugins")),
        pair("weights loaded by", resolved.text("load_format") or None, "the log does not say"),
    )
    return [Pairs(title="Model class, from the log", rows=rows)]


def _pid(value: int | None) -> str | None:
    return str(value) if value else None


def _s(value: float | int | None) -> str:
    return seconds(value) if value is not None else "unknown"
