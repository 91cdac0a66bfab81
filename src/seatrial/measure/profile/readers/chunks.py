"""Cut Chrome JSON into stretches that decode on their own, without reading it twice.

A cut is made where a separator between two events was seen; the separator is learned from the file's first events. A
wrong cut (the same bytes inside a string) never goes unnoticed: a stretch that begins at an event and ends inside one
is not JSON. Then the file is read piece by piece (`Salvage`), which also steps over damage in the middle of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.measure.profile.readers.columns import NOT_JSON, Columns

CHUNK = 16 << 20
HEAD = 64 << 20
BETWEEN = re.compile(rb'\}\s*,\s*\{\s*"[^"\\]{1,40}"')
LOOSE = re.compile(rb"\}\s*,\s*\{")
EVENTS_KEY = re.compile(rb'"traceEvents"\s*:\s*\[')
# An event does not take this many separators to end; a longer broken stretch is dropped.
JOINS = 8


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where the events begin, the separator between them (empty if there are not two), and what came before."""

    begin: int
    separator: bytes
    document: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What ended the array: the document's keys after it, or `torn` with the bytes that could not be used."""

    document: dict[str, Any]
    torn: bool
    lost_bytes: int = 0


def read_head(data: bytes, where: str) -> Head:
    """From the first bytes of a file; raises FileFormatError if no event array begins in them."""
    stripped = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    skipped = len(data) - len(stripped)
    if stripped.startswith(b"["):
        begin, document = skipped + 1, {}
    else:
        found = EVENTS_KEY.search(data)
        if not stripped.startswith(b"{") or found is None:
            raise FileFormatError(
                f"{where} is no Chrome trace: it is neither an array of events nor an object with `traceEvents`",
                mend="Give the trace file itself (*.pt.trace.json[.gz], trace_view.json) or an msprof output folder.",
            )
        begin, document = found.end(), _object(data[skipped : found.start()].rstrip().rstrip(b",") + b"}")
    return Head(begin=begin, separator=_learn(data[begin : begin + (4 << 20)]), document=document)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except NOT_JSON:
        return {}
    return value if isinstance(value, dict) else {}


def _learn(data: bytes) -> bytes:
    for tried, found in enumerate(BETWEEN.finditer(data)):
        try:
            msgspec.json.decode(b"[" + data[: found.start() + 1] + b"]")
        except NOT_JSON:
            if tried > 256:
                return b""
            continue
        # The commonest among the next ones: metadata events at the beginning may be written differently.
        seen: dict[bytes, int] = {}
        for many, match in enumerate(BETWEEN.finditer(data, found.start())):
            seen[match.group()] = seen.get(match.group(), 0) + 1
            if many > 2000:
                break
        return max(seen, key=lambda text: seen[text])
    return b""


def first_cut(window: bytes, separator: bytes) -> int:
    """Offset of the first event that begins in the window after a separator, or -1."""
    at = window.find(separator) if separator else -1
    if at >= 0:
        return at + separator.index(b"{")
    found = LOOSE.search(window)
    return found.end() - 1 if found else -1


def last_cut(window: bytes, separator: bytes) -> int:
    """Offset of the last event that begins in the window after a separator, or -1."""
    at = window.rfind(separator) if separator else -1
    if at >= 0:
        return at + separator.index(b"{")
    cut = -1
    for found in LOOSE.finditer(window, max(0, len(window) - (1 << 20))):
        cut = found.end() - 1
    return cut


def without_comma(elements: bytes, end: int | None = None) -> memoryview:
    """The elements up to `end` without the white space and the comma after the last; nothing is copied."""
    stop = len(elements) if end is None else end
    while stop and elements[stop - 1] in b" \t\r\n":
        stop -= 1
    if stop and elements[stop - 1] == 44:
        stop -= 1
    return memoryview(elements)[:stop]


def read_tail(columns: Columns, data: bytes, separator: bytes) -> Tail:
    """The last stretch: events, the closing bracket and what follows; or events and a torn end."""
    cut = last_cut(data, separator)
    if cut > 0:
        add(columns, without_comma(data, cut), separator)
    last = data[max(cut, 0) :]
    at = last.find(b"]")
    tried = 0
    while at >= 0 and tried < 10_000:
        try:
            columns.add(last[:at])
        except NOT_JSON:
            at = last.find(b"]", at + 1)
            tried += 1
            continue
        rest = last[at + 1 :].strip().removeprefix(b",")
        return Tail(document=_object(b"{" + rest) if rest else {}, torn=False)
    whole = without_comma(last)
    try:
        columns.add(whole)
    except NOT_JSON:
        return Tail(document={}, torn=True, lost_bytes=len(last))
    return Tail(document={}, torn=True, lost_bytes=0)


def add(columns: Columns, elements: bytes | memoryview, separator: bytes) -> None:
    """Add a stretch; if it is not JSON, add what is, piece by piece, and count what is not."""
    try:
        columns.add(elements)
    except NOT_JSON:
        _salvage(columns, bytes(elements), separator)


def _salvage(columns: Columns, elements: bytes, separator: bytes) -> None:
    """Split at every separator; a piece that is not JSON is joined with those after it, then given up."""
    head = separator.index(b"{") if separator else 0
    starts = [0]
    if separator:
        at = elements.find(separator)
        while at >= 0:
            starts.append(at + head)
            at = elements.find(separator, at + 1)
    else:
        starts += [found.end() - 1 for found in LOOSE.finditer(elements)]
    starts.append(len(elements))
    good: list[tuple[int, int]] = []
    i, last = 0, len(starts) - 1
    while i < last:
        for j in range(i + 1, min(i + JOINS, last) + 1):
            if _is_json(without_comma(elements[starts[i] : starts[j]])):
                good.append((starts[i], starts[j]))
                i = j
                break
        else:
            columns.count("damaged stretches dropped")
            columns.count("bytes in damaged stretches", starts[i + 1] - starts[i])
            i += 1
    for begin in range(0, len(good), 50_000):
        group = good[begin : begin + 50_000]
        columns.add(b",".join(without_comma(elements[a:b]) for a, b in group))


def _is_json(elements: memoryview) -> bool:
    try:
        msgspec.json.decode(b"".join([b"[", elements, b"]"]), type=list[msgspec.Raw])
    except NOT_JSON:
        return False
    return True


def read_stream(read: Callable[[int], bytes], columns: Columns, where: str) -> tuple[Head, Tail]:
    """Read a whole stream in one process, `CHUNK` bytes at a time."""
    data = read(CHUNK)
    while (
        len(data) < HEAD
        and EVENTS_KEY.search(data) is None
        and not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    ):
        more = read(CHUNK)
        if not more:
            break
        data += more
    head = read_head(data, where)
    data = data[head.begin :]
    separator = head.separator
    while True:
        more = read(CHUNK)
        if not more:
            return head, read_tail(columns, data, separator)
        data += more
        cut = last_cut(data, separator)
        if cut > 0:
            add(columns, without_comma(data, cut), separator)
            data = data[cut:]
        elif len(data) > HEAD:
            columns.count("damaged stretches dropped")
            columns.count("bytes in damaged stretches", len(data))
            data = b""
