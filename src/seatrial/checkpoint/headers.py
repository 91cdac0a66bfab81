"""One shard's header: read, decoded and checked against the file's size. Never a byte of a weight.

In: an open safetensors file (8 bytes of header length, a JSON header, the data). Out: its tensors and findings.
Two ways to decode: msgspec straight into typed entries (fast; every real file), and a slow, telling one that runs only
where the fast one fails or may have hidden something (a duplicate key, an escaped name), to say what is wrong.
"""

from __future__ import annotations

import hashlib
import os
import re
from math import prod
from typing import Annotated, Any

import msgspec

from seatrial.checkpoint.codes import (
    BAD_ENTRY,
    BAD_HEADER,
    BAD_OFFSETS,
    DATA_TRUNCATED,
    DUPLICATE_HEADER_KEY,
    HEADER_TOO_LARGE,
    HEADER_TRUNCATED,
    HOLE,
    LFS_POINTER,
    NOT_REGULAR,
    NOT_SAFETENSORS,
    OVERLAP,
    SIZE_MISMATCH,
    TRAILING,
    UNKNOWN_DTYPE,
    UNKNOWN_ENTRY_FIELD,
    note,
    shown,
)
from seatrial.checkpoint.documents import LFS_START, decoded_cost, load
from seatrial.checkpoint.dtypes import BITS
from seatrial.checkpoint.files import Folder, read_span
from seatrial.core.finding import Finding
from seatrial.core.record import Record

# The format's own bound (safetensors: MAX_HEADER_SIZE).
MAX_HEADER = 100_000_000
# What one shard may cost when decoded: see `_entry_cost`. A hundred thousand tensors in one file stay below it.
MAX_TYPED_COST = 192 << 20
MAX_GENERIC_COST = 160 << 20
# Defects of one kind named per shard; the rest are counted.
NAMED = 5

Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Shape = Annotated[tuple[Size, ...], msgspec.Meta(max_length=64)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A tensor's entry as the format has it. gc=False: it holds no cycles, and there may be a million."""

    dtype: str
    shape: Shape
    data_offsets: tuple[Size, Size]


class Header(Record):
    """What a shard says. `tensors` is empty where the header cannot be used (`usable` false)."""

    file: str
    size: int
    mtime_ns: int
    header_bytes: int
    header_sha256: str
    usable: bool
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    tensors: dict[str, Entry] = msgspec.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class Decoded(Record):
    """Entries and metadata of a header's JSON; `entries` is None where it cannot be decoded."""

    entries: dict[str, Entry] | None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


_DECODER = msgspec.json.Decoder(dict[str, Entry])
# `__metadata__` first and without escapes, as every known writer puts it. One character per step: no backtracking.
_METADATA = re.compile(rb'\s*\{\s*"__metadata__"\s*:\s*(\{(?:[^{}"\\]|"[^"\\]*")*\})\s*(?:,(?=\s*")|(?=\s*\}))')
_QUOTES_PER_ENTRY = 10  # the name, three keys and the dtype: five strings


def read_header(folder: Folder, file: str) -> Header:
    """Read and check one shard. Always answers; what is wrong is in the findings."""
    opened = folder.open(file)
    if isinstance(opened, Finding):
        return _unusable(file, 0, 0, opened)
    try:
        start = read_span(opened.descriptor, 0, 8)
        length = int.from_bytes(start, "little")
        size, mtime = opened.size, opened.mtime_ns
        if size < 1024 and LFS_START.startswith(start) and len(start) == 8:
            return _unusable(file, size, mtime, note(LFS_POINTER, file, "is a git-LFS pointer, not the weights"))
        if len(start) < 8 or size < 10:
            return _unusable(
                file, size, mtime, note(NOT_SAFETENSORS, file, f"holds {size} bytes, too few for a header")
            )
        if length > size - 8:
            text = f"its header is said to be {length} bytes long, but the file has only {size}"
            return _unusable(file, size, mtime, note(HEADER_TRUNCATED, file, text))
        if length > MAX_HEADER:
            text = f"its header is {length} bytes long; the format allows {MAX_HEADER}"
            return _unusable(file, size, mtime, note(HEADER_TOO_LARGE, file, text))
        raw = read_span(opened.descriptor, 8, length)
    except OSError as exc:
        return _unusable(file, opened.size, opened.mtime_ns, note(NOT_REGULAR, file, f"cannot be read: {exc.strerror}"))
    finally:
        os.close(opened.descriptor)
    digest = hashlib.sha256(start + raw).hexdigest()
    decoded = decode(raw, file)
    found = list(decoded.findings)
    if decoded.entries is not None:
        found += check_layout(decoded.entries, size - 8 - length, file)
    return Header(
        file=file,
        size=size,
        mtime_ns=mtime,
        header_bytes=length,
        header_sha256=digest,
        usable=decoded.entries is not None,
        metadata=decoded.metadata,
        tensors=decoded.entries or {},
        findings=tuple(found),
    )


def _unusable(file: str, size: int, mtime: int, finding: Finding) -> Header:
    return Header(
        file=file, size=size, mtime_ns=mtime, header_bytes=0, header_sha256="", usable=False, findings=(finding,)
    )


def _entry_cost(raw: bytes) -> int:
    """An upper estimate, in bytes, of typed entries: 500 each with name and dict slot, 40 for each further number."""
    return 500 * raw.count(b"{") + 40 * raw.count(b",")


def decode(raw: bytes, file: str) -> Decoded:
    """Decode a header's JSON; the slow way only where the fast one cannot vouch for the result."""
    if _entry_cost(raw) > MAX_TYPED_COST:
        return Decoded(entries=None, findings=(note(HEADER_TOO_LARGE, file, "its header holds too many entries"),))
    metadata: dict[str, str] = {}
    body = raw
    if found := _METADATA.match(raw):
        first = load(found[1], file)
        try:
            metadata = msgspec.convert(first.data, dict[str, str])
        except msgspec.ValidationError:
            return decode_slowly(raw, file)
        if first.findings:
            return decode_slowly(raw, file)
        body = b"{" + raw[found.end() :]
    if b"\\" in body or b'"__metadata__"' in body:
        return decode_slowly(raw, file)
    try:
        entries = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_slowly(raw, file)
    # Without escapes every string costs two quotes: a different count means a key was given twice.
    if body.count(b'"') != _QUOTES_PER_ENTRY * len(entries):
        return decode_slowly(raw, file)
    return Decoded(entries=entries, metadata=metadata)


def decode_slowly(raw: bytes, file: str) -> Decoded:
    """Decode with the standard library, to say what is wrong; entries that can be used are kept."""
    if decoded_cost(raw) > MAX_GENERIC_COST:
        text = "its header is malformed, and too large to say where"
        return Decoded(entries=None, findings=(note(HEADER_TOO_LARGE, file, text),))
    document = load(raw.rstrip(b" "), file, repeated=DUPLICATE_HEADER_KEY)
    if document.data is None:
        texts = [f.message for f in document.findings] or ["cannot be decoded"]
        return Decoded(entries=None, findings=tuple(note(BAD_HEADER, file, f"its header {t}") for t in texts))
    findings = list(document.findings)
    metadata = document.data.pop("__metadata__", {})
    if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        findings.append(note(BAD_ENTRY, f"{file}: __metadata__", "is not an object of strings"))
        metadata = {}
    entries: dict[str, Entry] = {}
    bad: list[Finding] = []
    for name, value in document.data.items():
        entry = _entry(name, value, file, bad)
        if entry is not None:
            entries[name] = entry
    return Decoded(entries=entries, metadata=metadata, findings=(*findings, *_few(bad, file)))


def _entry(name: str, value: Any, file: str, bad: list[Finding]) -> Entry | None:
    place = f"{file}: {name}"
    if isinstance(value, dict) and (extra := sorted(set(value) - {"dtype", "shape", "data_offsets"})):
        bad.append(note(UNKNOWN_ENTRY_FIELD, place, f"has the unknown field {extra[0]!r}"))
        value = {k: v for k, v in value.items() if k not in extra}
    try:
        return msgspec.convert(value, Entry)
    except msgspec.ValidationError as exc:
        bad.append(note(BAD_ENTRY, place, str(exc)))
        return None


def check_layout(entries: dict[str, Entry], data_bytes: int, file: str) -> list[Finding]:
    """Check dtypes, shapes and offsets against each other and against the bytes after the header."""
    wrong: list[Finding] = []
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        begin, end = entry.data_offsets
        spans.append((begin, end, name))
        bits = BITS.get(entry.dtype)
        if bits is None:
            wrong.append(note(UNKNOWN_DTYPE, f"{file}: {name}", f"has the unknown dtype {shown(entry.dtype)!r}"))
        elif end < begin:
            wrong.append(note(BAD_OFFSETS, f"{file}: {name}", f"begins at {begin} and ends at {end}"))
        elif prod(entry.shape) * bits != (end - begin) * 8:
            text = f"shape {list(entry.shape)} of {entry.dtype} does not take {end - begin} bytes"
            wrong.append(note(SIZE_MISMATCH, f"{file}: {name}", text))
    spans.sort()
    at = 0
    beyond: list[str] = []
    for begin, end, name in spans:
        if begin < at:
            wrong.append(note(OVERLAP, f"{file}: {name}", f"begins at byte {begin} of the data, before {at}"))
        elif begin > at and begin <= data_bytes:
            wrong.append(
                note(HOLE, f"{file}: {name}", f"begins at byte {begin} of the data; the one before ends at {at}")
            )
        if end > data_bytes:
            beyond.append(name)
        at = max(at, end)
    if beyond:
        text = f"is truncated: the data end at byte {at}, {data_bytes} are there; {len(beyond)} tensors are cut or lost"
        wrong.append(note(DATA_TRUNCATED, file, text))
    elif at < data_bytes:
        wrong.append(note(TRAILING, file, f"has {data_bytes - at} bytes after the last tensor"))
    return _few(wrong, file)


def _few(findings: list[Finding], file: str) -> list[Finding]:
    """The first few of each code, and how many more there are."""
    kept: list[Finding] = []
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + 1
        if counts[finding.code] <= NAMED:
            kept.append(finding)
    return kept + [
        note(code, file, f"{count - NAMED} more tensors of this shard have the same fault")
        for code, count in counts.items()
        if count > NAMED
    ]
