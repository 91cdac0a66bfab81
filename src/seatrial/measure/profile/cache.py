"""The columnar cache beside a trace: its columns as read, so that the second look costs no parsing.

`TRACE.seatrial.npz` holds plain arrays and one JSON document, nothing pickled. It counts only for a file of the same
size, time and first and last bytes, written by the same version of the readers; otherwise it is as if absent.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.core.atomic import write_atomic
from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, to_plain
from seatrial.measure.profile.events import EventTable, MemoryPoints, Trace, Track

# Raise whenever a reader gives other columns for the same file.
VERSION = 2
COLUMNS = ("start", "dur", "name", "kind", "track", "correlation", "shape")
MEMORY = ("time", "device", "allocated", "reserved")
EDGE = 1 << 16


def cache_file(path: Path) -> Path:
    return path.with_name(path.name + ".seatrial.npz")


def stamp(path: Path) -> str:
    """What the file looked like: size, time, a hash of its first and last bytes."""
    state = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        digest.update(stream.read(EDGE))
        stream.seek(max(0, state.st_size - EDGE))
        digest.update(stream.read(EDGE))
    return f"{VERSION}:{state.st_size}:{state.st_mtime_ns}:{digest.hexdigest()}"


def save(trace: Trace, path: Path, limit_bytes: int = 1 << 30) -> None:
    """Write the cache; raises OSError as the system says. A table beyond the limit is not cached."""
    table = trace.events
    arrays: dict[str, np.ndarray] = {key: getattr(table, key) for key in COLUMNS}
    if sum(a.nbytes for a in arrays.values()) > limit_bytes:
        return
    if trace.memory is not None:
        arrays |= {f"memory_{key}": getattr(trace.memory, key) for key in MEMORY}
    said = {
        "stamp": stamp(path),
        "names": table.names,
        "tracks": [[t.pid, t.tid, t.device, t.process, t.thread] for t in table.tracks],
        "shapes": table.shapes,
        "sources": trace.sources,
        "layout": trace.layout,
        "rank": trace.rank,
        "world_size": trace.world_size,
        "epoch_ns": trace.epoch_ns,
        "findings": to_plain(trace.findings),
        "counts": trace.counts,
    }
    text = json.dumps(said, ensure_ascii=True).encode()
    out = io.BytesIO()
    np.savez(out, said=np.frombuffer(text, np.uint8), **arrays)  # type: ignore[arg-type]
    write_atomic(cache_file(path), out.getbuffer())  # type: ignore[arg-type]


def load(path: Path) -> Trace | None:
    """The cached trace, or None if there is none that fits."""
    file = cache_file(path)
    try:
        if file.is_symlink() or not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as stored:
            said: dict[str, Any] = json.loads(stored["said"].tobytes())
            if said.get("stamp") != stamp(path):
                return None
            table = EventTable(
                **{key: stored[key] for key in COLUMNS},
                names=said["names"],
                tracks=[Track(pid=p, tid=t, device=d, process=n, thread=h) for p, t, d, n, h in said["tracks"]],
                shapes=said["shapes"],
            )
            memory = None
            if "memory_time" in stored:
                memory = MemoryPoints(**{key: stored[f"memory_{key}"] for key in MEMORY})
            if not _sound(table):
                return None
            return Trace(
                events=table,
                sources=tuple(said["sources"]),
                layout=said["layout"],
                rank=said["rank"],
                world_size=said["world_size"],
                epoch_ns=said["epoch_ns"],
                memory=memory,
                findings=[from_plain(Finding, f, where=str(file)) for f in said["findings"]],
                counts=said["counts"],
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        # A damaged cache is as good as none: the trace itself is read again.
        return None


def _sound(table: EventTable) -> bool:
    """Whether the dictionaries cover what the columns point at."""
    n = len(table.start)
    if any(len(getattr(table, key)) != n for key in COLUMNS):
        return False
    if not n:
        return True
    return bool(
        table.name.min() >= 0
        and table.name.max() < len(table.names)
        and table.track.min() >= 0
        and table.track.max() < len(table.tracks)
        and table.shape.max() < len(table.shapes)
    )
