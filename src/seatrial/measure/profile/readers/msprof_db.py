"""msprof's SQLite exports (`msprof_*.db`, `ascend_pytorch_profiler*.db`): tasks, collectives, host calls.

Names are numbers in STRING_IDS; times are nanoseconds. Opened read-only and immutable. A table that is absent is passed
over; a database with neither TASK nor COMMUNICATION_OP is refused with the tables it has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seatrial.core.errors import FileFormatError
from seatrial.measure.profile import codes
from seatrial.measure.profile.events import EventTable, Kind, Trace, Track
from seatrial.measure.profile.readers.columns import FARTHEST_NS
from seatrial.measure.profile.readers.find import rank_of
from seatrial.measure.profile.readers.tables import COPY, WAIT

HOST = -1
MOST_ROWS = 100_000_000
Row = tuple[int, int, str, int, int, "int | str", int]


def read(path: Path) -> Trace:
    """Read one database; raises FileFormatError if it is none, or holds no events."""
    try:
        base = sqlite3.connect(f"file:{_quoted(path)}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as exc:
        raise FileFormatError(f"{path.name}: {exc}") from exc
    try:
        rows, dropped, rank = _rows(base, path)
    except sqlite3.Error as exc:
        raise FileFormatError(f"{path.name}: {exc}", mend="Export it again: msprof --export=on --type=db") from exc
    finally:
        base.close()
    names: dict[str, int] = {}
    tracks: dict[tuple[int, int | str], int] = {}
    n = len(rows)
    table = EventTable(
        start=np.fromiter((r[0] for r in rows), np.int64, n),
        dur=np.fromiter((r[1] for r in rows), np.int64, n),
        name=np.fromiter((names.setdefault(r[2], len(names)) for r in rows), np.int32, n),
        kind=np.fromiter((r[3] for r in rows), np.uint8, n),
        track=np.fromiter((tracks.setdefault((r[4], r[5]), len(tracks)) for r in rows), np.int32, n),
        correlation=np.fromiter((r[6] for r in rows), np.int64, n),
        shape=np.full(n, -1, np.int32),
        names=list(names),
        tracks=[Track(pid=d if d >= 0 else "host", tid=s, device=d) for d, s in tracks],
    )
    findings = [codes.dropped(path.name, "rows without a usable time", dropped)] if dropped else []
    return Trace(
        events=table,
        sources=(str(path),),
        layout="msprof db",
        rank=rank if rank >= 0 else rank_of(path),
        findings=findings,
    )


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.resolve()))


def _columns(base: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in base.execute(f"PRAGMA table_info({table})")}


def _rows(base: sqlite3.Connection, path: Path) -> tuple[list[Row], int, int]:
    tables = {row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables & {"TASK", "COMMUNICATION_OP"}:
        raise FileFormatError(
            f"{path.name}: neither TASK nor COMMUNICATION_OP among its tables ({', '.join(sorted(tables))[:200]})",
            mend="Export the events: msprof --export=on --type=db, or give the CSV files.",
        )
    words: dict[int, str] = {}
    if "STRING_IDS" in tables:
        words = {i: str(v) for i, v in base.execute("SELECT id, value FROM STRING_IDS") if isinstance(i, int)}
    rows: list[Row] = []
    dropped = 0
    for start, end, name, kind, device, stream, link in _events(base, tables, words):
        whole = isinstance(start, int) and isinstance(end, int)
        if not whole or not 0 <= end - start < FARTHEST_NS or abs(start) > FARTHEST_NS or len(rows) >= MOST_ROWS:
            dropped += 1
            continue
        rows.append((start, end - start, name, int(kind), device, stream, link if isinstance(link, int) else -1))
    rank = -1
    if "RANK_DEVICE_MAP" in tables:
        found = [r for (r,) in base.execute("SELECT rankId FROM RANK_DEVICE_MAP") if isinstance(r, int) and r >= 0]
        rank = found[0] if len(found) == 1 else -1
    return rows, dropped, rank


def _events(base: sqlite3.Connection, tables: set[str], words: dict[int, str]) -> Iterator[tuple]:  # type: ignore[type-arg]
    """(start, end, name, kind, device, stream, connection) of every event, as the database has them."""

    def word(value: object) -> str:
        return words.get(value, str(value)) if isinstance(value, int) else str(value)

    if "TASK" in tables:
        kernels: dict[object, str] = {}
        if {"globalTaskId", "opType"} <= _columns(base, "COMPUTE_TASK_INFO"):
            for task, name, kind in base.execute("SELECT globalTaskId, name, opType FROM COMPUTE_TASK_INFO"):
                said = word(kind)
                kernels[task] = said if said not in {"", "N/A", "None"} else word(name)
        communication = set()
        if "globalTaskId" in _columns(base, "COMMUNICATION_TASK_INFO"):
            communication = {t for (t,) in base.execute("SELECT globalTaskId FROM COMMUNICATION_TASK_INFO")}
        query = "SELECT startNs, endNs, deviceId, streamId, globalTaskId, taskType, connectionId FROM TASK"
        for start, end, device, stream, task, kind, link in base.execute(query):
            # The parts of a collective are in COMMUNICATION_OP as one event.
            if task in communication:
                continue
            said = word(kind)
            name = kernels.get(task, said)
            sort = Kind.DEVICE_WAIT if WAIT.search(said) else Kind.COPY if COPY.search(said) else Kind.KERNEL
            yield start, end, name, sort, device if isinstance(device, int) else 0, stream, link
    if "COMMUNICATION_OP" in tables:
        has = _columns(base, "COMMUNICATION_OP")
        device_column = "deviceId" if "deviceId" in has else "0"
        type_column = "opType" if "opType" in has else "opName"
        query = f"SELECT startNs, endNs, {type_column}, {device_column}, groupName, connectionId FROM COMMUNICATION_OP"  # noqa: S608
        for start, end, name, device, group, link in base.execute(query):
            where = device if isinstance(device, int) else 0
            yield start, end, word(name), Kind.COMMUNICATION, where, f"group {word(group)}", link
    if "CANN_API" in tables:
        calls = base.execute("SELECT startNs, endNs, name, globalTid, connectionId FROM CANN_API")
        for start, end, name, thread, link in calls:
            yield start, end, word(name), Kind.RUNTIME, HOST, thread, link
    if {"startNs", "endNs", "name", "globalTid"} <= _columns(base, "PYTORCH_API"):
        for start, end, name, thread in base.execute("SELECT startNs, endNs, name, globalTid FROM PYTORCH_API"):
            yield start, end, word(name), Kind.CPU_OP, HOST, thread, -1
