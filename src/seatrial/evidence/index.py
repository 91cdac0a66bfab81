"""The index of a workspace: one row a run, in SQLite. It can be deleted at any time: it is rebuilt from the files.

A run is read again only when its `head.json` says something else than the index knows.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from seatrial.core.errors import FileFormatError, WorkspaceError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, to_plain
from seatrial.evidence.records import HEAD
from seatrial.evidence.run import Run
from seatrial.evidence.workspace import Workspace

COLUMNS = ("run_id", "head", "created_at", "checkpoint", "target", "state", "verdict", "signed_off", "summary")


class RunRow(Record):
    """One line of `runs list`. `state`: finished, interrupted, unfinished or unreadable (`summary` says why)."""

    run_id: str
    created_at: str
    checkpoint: str
    target: str
    state: str
    verdict: str
    signed_off: bool
    summary: str


def list_runs(workspace: Workspace) -> list[RunRow]:
    """All runs, oldest first, from the index where it is up to date."""
    folders = workspace.run_folders()
    if not folders:
        return []
    try:
        return _synced(workspace.index_file, folders)
    except sqlite3.DatabaseError:
        # A damaged index holds nothing that the files do not: start it again.
        with contextlib.suppress(OSError):
            workspace.index_file.unlink()
    try:
        return _synced(workspace.index_file, folders)
    except sqlite3.DatabaseError:
        # Nor is a folder we may not write a reason not to answer.
        return [_row(folder) for folder in folders]


def _synced(file: Path, folders: list[Path]) -> list[RunRow]:
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as base, base:
        base.execute(
            "CREATE TABLE IF NOT EXISTS runs (run_id TEXT PRIMARY KEY, head TEXT, created_at TEXT, checkpoint TEXT,"
            " target TEXT, state TEXT, verdict TEXT, signed_off INTEGER, summary TEXT)"
        )
        known = dict(base.execute("SELECT run_id, head FROM runs").fetchall())
        for folder in folders:
            head = _head_text(folder)
            if known.pop(_shown(folder), None) != head:
                row = to_plain(_row(folder))
                # Unreadable today need not be so tomorrow, and its head says nothing of it: it is looked at each time.
                seen = head if row["state"] != "unreadable" else None
                values = [row["run_id"], seen, *(row[c] for c in COLUMNS[2:])]
                base.execute(f"REPLACE INTO runs ({', '.join(COLUMNS)}) VALUES ({','.join('?' * 9)})", values)  # noqa: S608
        for gone in known:
            base.execute("DELETE FROM runs WHERE run_id = ?", (gone,))
        found = base.execute(f"SELECT {', '.join(COLUMNS)} FROM runs ORDER BY run_id").fetchall()  # noqa: S608
    rows = []
    for record in found:
        fields = dict(zip(COLUMNS, record, strict=True))
        del fields["head"]
        rows.append(RunRow(**{**fields, "signed_off": bool(fields["signed_off"])}))
    return rows


def _shown(folder: Path) -> str:
    """The folder's name; SQLite and JSON hold no bytes that are not UTF-8."""
    return folder.name.encode("utf-8", "backslashreplace").decode()


def _head_text(folder: Path) -> str:
    try:
        return read_plain(folder / HEAD).decode(errors="replace")
    except OSError:
        return ""


def _row(folder: Path) -> RunRow:
    try:
        run = Run.read(folder)
        if run.problems:
            # A seal is not shown of records that do not join.
            raise FileFormatError(f"{run.problems[0]}: see `seatrial runs verify`")
        finished = run.last("finished")
        body = to_plain(finished.body) if finished else {}
        if not isinstance(body, dict):
            raise FileFormatError(f"{folder.name}: its last record 'finished' is not a table")
    except (FileFormatError, WorkspaceError, OSError) as exc:
        return RunRow(
            run_id=_shown(folder),
            created_at="",
            checkpoint="",
            target="",
            state="unreadable",
            verdict="",
            signed_off=False,
            summary=str(exc),
        )
    later = run.log.entries[-1].kind if run.log.entries else ""
    state = (
        "finished" if finished and later == "finished" else ("interrupted" if later == "interrupted" else "unfinished")
    )
    return RunRow(
        run_id=_shown(folder),
        created_at=run.manifest.created_at,
        checkpoint=run.manifest.checkpoint,
        target=str(run.manifest.target.get("name", "")),
        state=state,
        verdict=str(body.get("verdict", "")) if state == "finished" else "",
        signed_off=bool(body.get("signed_off", False)) and state == "finished",
        summary=str(body.get("reason", "")) if state == "finished" else "",
    )
