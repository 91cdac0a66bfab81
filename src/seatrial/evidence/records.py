"""The append-only log of a run: one JSON line per record, each holding the hash of the line before it.

The first record holds the manifest's hash, and `head.json` the last line's, so no line, and not the manifest, can
change unnoticed. A line torn by a kill is never read as a record: it is set aside and reported.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import FileFormatError, WorkspaceError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_json, to_json

RECORDS = "records.jsonl"
HEAD = "head.json"
SCHEMA_VERSION = 1
LARGEST = 1 << 30  # bytes of a file of records; facts and logs are artifacts, so a run's are some megabytes at most


class Entry(Record):
    """One line. `at` is UTC, ISO 8601; `previous` is the SHA-256 of the line before (of the manifest for seq 0)."""

    schema_version: int
    seq: int
    at: str
    kind: str
    previous: str
    body: Any


class Head(Record):
    """How many records there are and the SHA-256 of the last line."""

    schema_version: int
    records: int
    sha256: str


class Log(Record):
    """What was read: the records, the hash of each line, and the bytes of a torn last line (empty if none)."""

    entries: tuple[Entry, ...]
    hashes: tuple[str, ...]
    torn: bytes
    problems: tuple[str, ...]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def read_log(folder: Path) -> Log:
    """Read a run's records and check the chain; faults are `problems`, in words, and end the reading."""
    try:
        file = folder / RECORDS
        # Plain files only: evidence that somebody handed over may hold a pipe that nobody writes to.
        data = read_plain(file, limit=LARGEST) if os.path.lexists(file) else b""
        previous = sha256(read_plain(folder / "manifest.json", limit=LARGEST))
    except OSError as exc:
        raise WorkspaceError(f"run {folder.name} cannot be read: {exc}", mend="Make its files readable.") from exc
    *lines, torn = data.split(b"\n")
    entries: list[Entry] = []
    hashes: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(lines):
        try:
            entry = from_json(Entry, line, where=f"{RECORDS} line {number + 1}")
        except FileFormatError as exc:
            problems.append(exc.message)
            break
        if entry.previous != previous:
            problems.append(
                "manifest.json is not the one this run began with"
                if number == 0
                else f"{RECORDS} line {number} or {number + 1} was changed: their hashes do not join"
            )
        if entry.seq != number:
            problems.append(f"{RECORDS} line {number + 1} has the number {entry.seq}: records are missing or moved")
        entries.append(entry)
        previous = sha256(line)
        hashes.append(previous)
    return Log(entries=tuple(entries), hashes=tuple(hashes), torn=torn, problems=tuple(problems))


def read_head(folder: Path) -> Head | None:
    file = folder / HEAD
    try:
        data = read_plain(file) if os.path.lexists(file) else None
    except OSError as exc:
        raise FileFormatError(f"{HEAD}: cannot be read: {exc.strerror}") from exc
    return from_json(Head, data, where=HEAD) if data is not None else None


def head_error(folder: Path, log: Log) -> str:
    """What is wrong between the head and the records, in words; empty if nothing that a kill does not explain.

    The head is written right after its record, so a kill leaves it at most one behind.
    """
    try:
        head = read_head(folder)
    except FileFormatError as exc:
        return exc.message
    count = len(log.entries)
    if head is None:
        return f"{HEAD} is missing beside {count} records" if count > 1 else ""
    if head.records > count:
        return f"{head.records - count} records are missing at the end of {RECORDS}"
    if head.records < max(1, count - 1):
        return f"{HEAD} counts {head.records} records, {RECORDS} has {count}: one of them was changed"
    if log.hashes[head.records - 1] != head.sha256:
        return f"{RECORDS} line {head.records} is not the one that was written"
    return ""


def append(folder: Path, log: Log, kind: str, body: Any) -> Log:
    """Write one record durably and move the head; returns the log with it. `log.torn` must be empty."""
    previous = log.hashes[-1] if log.hashes else sha256((folder / "manifest.json").read_bytes())
    entry = Entry(
        schema_version=SCHEMA_VERSION, seq=len(log.entries), at=now(), kind=kind, previous=previous, body=body
    )
    line = to_json(entry)
    handle = os.open(folder / RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        start = os.fstat(handle).st_size
        try:
            written = 0
            while written < len(line) + 1:
                written += os.write(handle, (line + b"\n")[written:])
            os.fsync(handle)
        except OSError:
            # A disk that is full must not leave half a line behind.
            os.ftruncate(handle, start)
            raise
    finally:
        os.close(handle)
    digest = sha256(line)
    head = Head(schema_version=SCHEMA_VERSION, records=entry.seq + 1, sha256=digest)
    write_atomic(folder / HEAD, to_json(head))
    return Log(entries=(*log.entries, entry), hashes=(*log.hashes, digest), torn=b"", problems=log.problems)
