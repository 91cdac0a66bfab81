"""How a run came to be: the commands to repeat each step, the manifest, and the log of its records."""

from __future__ import annotations

from typing import Any

from seatrial.core.command import Command
from seatrial.core.record import to_plain
from seatrial.evidence import StoredStep, redact
from seatrial.evidence.manifest import redact_arguments
from seatrial.report.blocks import Block, Cell, Code, Column, Fold, Pairs, Paragraph, Section, Table
from seatrial.report.gather import Gathered
from seatrial.report.generic import blocks_of, table_of
from seatrial.report.sections.common import pair
from seatrial.report.words import count, moment, plural, scalar

MAX_COMMANDS = 40
MAX_RECORDS = 500


def commands_of(stored: StoredStep) -> list[Block]:
    """What a person pastes into a shell; secrets are redacted once more on the way out."""
    found: list[Block] = []
    for command in stored.commands[:MAX_COMMANDS]:
        found.append(Code(title=f"By hand: {command.purpose}", text=shell(command)))
    if len(stored.commands) > MAX_COMMANDS:
        found.append(Paragraph(text=f"{count(len(stored.commands) - MAX_COMMANDS)} more commands are in the records."))
    return found


def shell(command: Command) -> str:
    clean = Command(
        purpose=command.purpose,
        argv=redact_arguments(command.argv),
        env={name: redact(name, value) for name, value in command.env.items()},
        cwd=command.cwd,
    )
    return clean.shell()


def manifest_section(run: Gathered) -> Section:
    """Versions, hardware, environment, git: everything known when the run began."""
    manifest = run.manifest
    again = "seatrial " + " ".join(Command(purpose="", argv=(w,)).shell() for w in manifest.arguments_given)
    blocks: list[Block] = []
    if manifest.arguments_given:
        blocks.append(Code(title="The command that began this run", text=again))
    blocks.append(
        Pairs(
            rows=(
                pair("seatrial", manifest.seatrial_version or None, "not recorded"),
                pair("engine's interpreter", manifest.python or None, "not recorded"),
                pair("target's sources", list(manifest.target_sources)),
                *(pair(f"input: {n}", Cell(text=v, is_code=True)) for n, v in manifest.inputs.items()),
            )
        )
    )
    # Nothing is unknown here: what is null was left to its default.
    given = {k: "not set" if v is None else v for k, v in manifest.arguments.items()}
    folds: list[tuple[str, Any]] = [
        ("Arguments in effect", given),
        ("Target", manifest.target),
        ("Hardware", manifest.hardware),
        (
            f"Versions ({plural(len(manifest.versions), 'distribution')})",
            _pairs_of(manifest.versions, "package", "version"),
        ),
        ("Environment", _pairs_of(manifest.environment, "variable", "value")),
        ("Other variables, by name only", ", ".join(manifest.environment_other_names) or "none"),
    ]
    for title, value in folds:
        blocks.append(
            Fold(title=title, blocks=tuple(blocks_of(value)) if value else (Paragraph(text="None recorded."),))
        )
    git = [to_plain(state) for state in manifest.git]
    inside: tuple[Block, ...] = (table_of(git),) if git else (Paragraph(text="No git checkout around the run."),)
    blocks.append(Fold(title="Git", blocks=inside))
    return Section(id="manifest", title="Manifest", blocks=tuple(blocks))


def _pairs_of(values: dict[str, str], name: str, value: str) -> list[dict[str, str]]:
    return [{name: k, value: v} for k, v in values.items()]


def records_section(run: Gathered) -> Section:
    """Every record in order: starts, steps, interruptions, resumes."""
    rows = []
    for entry in run.entries[-MAX_RECORDS:]:
        body = entry.body if isinstance(entry.body, dict) else {}
        rows.append(
            (
                Cell(text=str(entry.seq)),
                Cell(text=moment(entry.at)),
                Cell(text=entry.kind, tone="warning" if entry.kind in ("interrupted", "error", "torn") else ""),
                Cell(text=_said(entry.kind, body)),
            )
        )
    more = len(run.entries) - len(rows)
    columns = (
        Column(title="no.", is_number=True),
        Column(title="at"),
        Column(title="record"),
        Column(title="what"),
    )
    left = f"{count(more)} earlier ones are in records.jsonl" if more > 0 else ""
    table = Table(columns=columns, rows=tuple(rows), left_out=left)
    notable = [e for e in run.entries if e.kind in ("interrupted", "error", "resumed", "torn")]
    title = f"{plural(len(run.entries), 'record')}, {plural(len(notable), 'interruption, error or resume')}"
    if len(notable) != 1:
        title = f"{plural(len(run.entries), 'record')}, {count(len(notable))} interruptions, errors or resumes"
    files = Pairs(
        rows=(
            pair("records", Cell(text="records.jsonl", href="records.jsonl")),
            pair("manifest", Cell(text="manifest.json", href="manifest.json")),
        )
    )
    return Section(
        id="records", title="Records", blocks=(Fold(title=title, blocks=(table,), is_open=bool(notable)), files)
    )


def _said(kind: str, body: dict[str, Any]) -> str:
    if kind == "step":
        outcome = body.get("outcome")
        verdict = outcome.get("verdict") if isinstance(outcome, dict) else "unknown"
        return f"{body.get('step')}: {verdict}, {body.get('summary')}"
    if kind == "finished":
        return f"{body.get('verdict')}, {'signed off' if body.get('signed_off') else 'not signed off'}"
    if body.get("reason"):
        return str(body["reason"])
    names = ", ".join(
        f"{k}: {scalar(v) if not isinstance(v, (dict, list)) else '…'}" for k, v in list(body.items())[:6]
    )
    return names or "–"
