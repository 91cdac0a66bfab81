"""Scan one file, in two processes when it is a large plain one.

In: a `LogFile`. Out: its `Scan`. The halves are cut at a line end; the second is read by a child process, and what it
found is merged as if one reader had gone through.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from seatrial.triage.read import LogFile
from seatrial.triage.record import Event
from seatrial.triage.scan import DIGITS, EXIT_CODE, WINDOW, Scan, Scanner, digest, full

# Below this a second process costs more than it saves.
SPLIT_FROM = 96 << 20


def scan_file(file: LogFile, *, order: int = 0, hashed: bool = False) -> Scan:
    """Read `file` to its end."""
    if file.dropped:
        return Scan(events=[], context=[], dropped=file.dropped)
    if not hashed and file.path is not None and file.path.is_file() and file.plain():
        size = file.path.stat().st_size
        if size >= SPLIT_FROM and (os.cpu_count() or 1) > 1:
            return _in_two(file, file.path, size, order)
    return Scanner(file, order=order).run(hashed=hashed)


def _in_two(file: LogFile, path: Path, size: int, order: int) -> Scan:
    cut = _line_end(path, size // 2)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        later = pool.submit(scan_part, str(path), cut, size, order)
        file.end = cut
        first = Scanner(file, order=order, every_line=False).run()
        second = later.result()
    return _merge(first, second)


def _line_end(path: Path, near: int) -> int:
    with path.open("rb") as handle:
        handle.seek(near)
        data = handle.read(1 << 20)
    return near + data.find(b"\n") + 1


def scan_part(name: str, start: int, end: int, order: int) -> Scan:
    """The child's work: bytes `start` to `end` of the file; `order` and line numbers start at this part's beginning."""
    part = LogFile(name, Path(name))
    part.start, part.end = start, end
    with Path(name).open("rb") as handle:
        handle.seek(max(0, start - WINDOW))
        before = handle.read(min(start, WINDOW))
    return Scanner(part, order=order, every_line=False, before=before).run()


def _key(event: Event) -> tuple[bytes, str]:
    place = f"{event.frames[-1].path}:{event.frames[-1].function}" if event.frames else ""
    text = event.text.encode("utf-8", "replace")
    code = EXIT_CODE.search(text)
    return digest(DIGITS.sub(b"#", text) + (code[0] if code else b"")), place


def folded(events: Iterable[Event]) -> list[Event]:
    """The events of several files without those that only say again what one before them said."""
    known: dict[tuple[bytes, str], Event] = {}
    for event in events:
        earlier = known.setdefault(_key(event), event)
        if earlier is not event:
            _fold(earlier, event)
    return list(known.values())


def _fold(earlier: Event, event: Event) -> None:
    earlier.count += event.count
    earlier.processes.extend(p for p in event.processes if p not in earlier.processes)


def _merge(first: Scan, second: Scan) -> Scan:
    known = {_key(e): e for e in first.events}
    for event in second.events:
        earlier = known.get(_key(event))
        if earlier is not None:
            _fold(earlier, event)
            continue
        if full(first.events, event.level, event.text):
            first.overflow += 1
            continue
        event.line += first.lines
        event.order += first.size
        event.chained_to = event.chained_to + first.size if event.chained_to is not None else None
        event.ready = event.ready or first.ready
        event.requests += first.requests
        first.events.append(event)
    first.context.extend(second.context)
    first.lines += second.lines
    first.size += second.size
    first.ready = first.ready or second.ready
    first.requests += second.requests
    first.overflow += second.overflow
    first.dropped = first.dropped or second.dropped
    first.last_time = second.last_time or first.last_time
    return first
