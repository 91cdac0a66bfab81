"""What the workspace's earlier runs know about a failure: the same signature, or the same text with numbers freed.

Triage comes before evidence in the import order, so the look-up is here: in go a diagnosis and a workspace, out come
the runs that failed alike and, where there is one, the later run of the same checkpoint and target that got past it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seatrial.core.errors import SeatrialError
from seatrial.evidence import Run, StoredStep, Workspace
from seatrial.triage import Diagnosis, Past, PastIncident
from seatrial.triage.similar import normal

NEWEST = 500
SHOWN = 10
MAX_FACTS = 16 << 20
MAX_DEPTH = 12


class _Seen(NamedTuple):
    """A run that was read: its steps by name."""

    run: Run
    steps: dict[str, StoredStep]


def past(answer: Diagnosis, workspace: Workspace) -> Past:
    """Failures of earlier runs like this one, newest first; a run that cannot be read is counted, not hidden."""
    folders = workspace.run_folders()[-NEWEST:]
    seen: list[_Seen] = []
    unreadable = 0
    for folder in folders:
        try:
            run = Run.read(folder)
            seen.append(_Seen(run, run.steps()))
        except (SeatrialError, OSError):
            unreadable += 1
    found: list[PastIncident] = []
    for place in range(len(seen) - 1, -1, -1):
        for name, step in seen[place].steps.items():
            if str(step.outcome.verdict.value) == "pass":
                continue
            for error in _errors(seen[place].run, step):
                like = _alike(answer, error)
                if like:
                    found.append(_incident(seen, place, name, error, like))
                    break
    return Past(incidents=tuple(found[:SHOWN]), total=len(found), runs=len(seen), unreadable=unreadable)


def _alike(answer: Diagnosis, error: dict[str, Any]) -> str:
    """By what the two are alike: "text" (the same but for numbers, paths and names), "signature", or nothing."""
    text = error.get("text")
    cause = answer.first_cause
    if cause is not None and isinstance(text, str) and text and normal(cause.text) == normal(text):
        return "text"
    return "signature" if answer.signature and error.get("signature") == answer.signature else ""


def _incident(seen: list[_Seen], place: int, name: str, error: dict[str, Any], like: str) -> PastIncident:
    run = seen[place].run
    later = ""
    for after in seen[place + 1 :]:
        step = after.steps.get(name)
        same = (after.run.manifest.checkpoint, after.run.manifest.target.get("name")) == (
            run.manifest.checkpoint,
            run.manifest.target.get("name"),
        )
        if same and step is not None and step.outcome.verdict.value == "pass":
            later = after.run.run_id
            break
    return PastIncident(
        run=run.run_id,
        step=name,
        created_at=run.manifest.created_at,
        checkpoint=run.manifest.checkpoint,
        target=str(run.manifest.target.get("name", "")),
        category=str(error.get("category") or ""),
        text=str(error.get("text") or "")[:400],
        alike_by=like,
        later_pass=later,
    )


def _errors(run: Run, step: StoredStep) -> Iterator[dict[str, Any]]:
    """Every `first_error` in the step's facts."""
    file: Path = run.artifact(step.facts)
    try:
        if file.is_symlink() or file.stat().st_size > MAX_FACTS:
            return
        facts = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    yield from _within(facts, 0)


def _within(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        error = value.get("first_error")
        if isinstance(error, dict):
            yield error
        for inner in value.values():
            yield from _within(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _within(inner, depth + 1)
