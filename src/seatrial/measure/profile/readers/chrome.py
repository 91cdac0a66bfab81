"""Chrome JSON (torch/Kineto, Ascend's trace_view.json, msprof_*.json) to a `Part`: in parallel, with bounded memory.

A plain file is cut into ranges of 16 MB; this process reads the first share, helper processes (`chrome_helper`, one per
further core) the others. Packed files, and plain ones whose cuts prove wrong, are read as one stream.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from seatrial.core.collector import without_collector
from seatrial.core.errors import FileFormatError
from seatrial.measure.profile.readers import chunks
from seatrial.measure.profile.readers.columns import DTYPES, NOT_JSON, Columns, Part, merge
from seatrial.measure.profile.readers.packed import PACKED, open_packed

WINDOW = 4 << 20
PIECE = 1 << 16
# Below this a helper's start-up costs more than it saves.
PARALLEL_FROM = 48 << 20
MOST_HELPERS = 7


@dataclass(frozen=True, kw_only=True)
class Read:
    """A file as read: its columns, the document's other keys, and whether its end was missing."""

    part: Part
    document: dict[str, Any]
    torn: bool
    lost_bytes: int


def read(path: Path, *, processes: int | None = None) -> Read:
    """Read one file; raises FileFormatError if it holds no event array, OSError as the system says."""
    with without_collector():
        if path.suffix in PACKED:
            with open_packed(path) as stream:
                return _stream(stream, path)
        size = path.stat().st_size
        share = processes if processes is not None else _cores()
        if share > 1 and size >= PARALLEL_FROM:
            found = _parallel(path, size, min(share - 1, MOST_HELPERS))
            if found is not None:
                return found
        with path.open("rb") as stream:
            return _stream(stream, path)


def _cores() -> int:
    """The cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stream(stream: IO[bytes], path: Path) -> Read:
    columns = Columns()
    cut_short = False

    def more(count: int) -> bytes:
        nonlocal cut_short
        pieces: list[bytes] = []
        try:
            # In small pieces: the one in which a packed file turns out to be torn is lost whole.
            while count > 0 and not cut_short and (piece := stream.read(min(count, PIECE))):
                pieces.append(piece)
                count -= len(piece)
        except (EOFError, zlib.error) as exc:
            if isinstance(exc, zlib.error) and not pieces:
                raise FileFormatError(f"{path.name}: {exc}") from exc
            cut_short = True
        return b"".join(pieces)

    head, tail = chunks.read_stream(more, columns, path.name)
    return Read(
        part=columns.finish(),
        document=head.document | tail.document,
        torn=tail.torn or cut_short,
        lost_bytes=tail.lost_bytes,
    )


def _ranges(handle: int, size: int, head: chunks.Head) -> list[tuple[int, int]] | None:
    """Stretches of about CHUNK bytes, each beginning at an event; None where no separator was found in time."""
    starts = [head.begin]
    while starts[-1] + chunks.CHUNK + WINDOW < size:
        target = starts[-1] + chunks.CHUNK
        cut = chunks.first_cut(os.pread(handle, WINDOW, target), head.separator)
        if cut < 0:
            return None
        starts.append(target + cut)
    return list(zip(starts, [*starts[1:], size], strict=True))


def _parallel(path: Path, size: int, helpers: int) -> Read | None:
    handle = os.open(path, os.O_RDONLY)
    try:
        first = os.pread(handle, WINDOW, 0)
        if chunks.EVENTS_KEY.search(first) is None and not first.lstrip().startswith(b"["):
            return None
        head = chunks.read_head(first, path.name)
        ranges = _ranges(handle, size, head)
        if ranges is None or len(ranges) < 2:
            return None
        shares = np.array_split(np.arange(len(ranges)), min(helpers + 1, len(ranges)))
        running = [_start(path, [ranges[i] for i in share], head.separator) for share in shares[1:]]
        try:
            columns = Columns()
            for i in shares[0]:
                columns.add(chunks.without_comma(_exactly(handle, *ranges[i])))
            parts = [columns.finish()]
            answers = [_receive(helper) for helper in running]
        except NOT_JSON:
            return None
        finally:
            for helper in running:
                helper.kill()
                helper.wait()
                if helper.stdout is not None:
                    helper.stdout.close()
        if any(answer is None for answer in answers):
            return None
        last = answers[-1]
        parts += [a.part for a in answers if a is not None]
        if last is None:
            return None
        return Read(
            part=merge(parts), document=head.document | last.document, torn=last.torn, lost_bytes=last.lost_bytes
        )
    finally:
        os.close(handle)


def _exactly(handle: int, begin: int, end: int) -> bytes:
    return os.pread(handle, end - begin, begin)


def _start(path: Path, ranges: list[tuple[int, int]], separator: bytes) -> subprocess.Popen[bytes]:
    work = {"path": str(path), "ranges": ranges, "separator": separator.decode("latin-1")}
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    helper = subprocess.Popen(
        [sys.executable, "-m", "seatrial.measure.profile.readers.chrome_helper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    if helper.stdin is not None:
        helper.stdin.write(json.dumps(work).encode())
        helper.stdin.close()
    return helper


def _receive(helper: subprocess.Popen[bytes]) -> Read | None:
    """What a helper answers: one JSON line, then the columns' bytes in the order of DTYPES; None if it gave up."""
    stream = helper.stdout
    line = stream.readline() if stream is not None else b""
    if stream is None or not line:
        return None
    said = json.loads(line)
    if said.get("failed"):
        return None
    columns = {}
    for key, dtype in DTYPES.items():
        data = stream.read(column_bytes := said["rows"] * np.dtype(dtype).itemsize)
        if len(data) != column_bytes:
            return None
        columns[key] = np.frombuffer(data, dtype)
    return Read(
        part=Part(columns=columns, **said["part"]),
        document=said["document"],
        torn=said["torn"],
        lost_bytes=said["lost_bytes"],
    )


def helper_main(work: dict[str, Any], out: IO[bytes]) -> None:
    """A helper's whole life: read its ranges, answer. The last range of the file is read as its tail."""
    separator = work["separator"].encode("latin-1")
    columns = Columns()
    tail = chunks.Tail(document={}, torn=False)
    handle = os.open(work["path"], os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        for begin, end in work["ranges"]:
            data = _exactly(handle, begin, end)
            if end == size:
                tail = chunks.read_tail(columns, data, separator)
            else:
                columns.add(chunks.without_comma(data))
    except (*NOT_JSON, FileFormatError):
        out.write(b'{"failed": true}\n')
        return
    finally:
        os.close(handle)
    part = columns.finish()
    said = {
        "rows": len(part.columns["start"]),
        "document": tail.document,
        "torn": tail.torn,
        "lost_bytes": tail.lost_bytes,
        "part": {
            "names": part.names,
            "tracks": part.tracks,
            "labels": part.labels,
            "shapes": part.shapes,
            "meta": part.meta,
            "memory": part.memory,
            "counts": part.counts,
        },
    }
    out.write(json.dumps(said).encode() + b"\n")
    for key in DTYPES:
        out.write(np.ascontiguousarray(part.columns[key]).data)
