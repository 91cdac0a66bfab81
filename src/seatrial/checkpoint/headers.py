"""One shard's header: read, decoded and checked against the file's size. Never a byte of a weight.

In: an open safetensors file (8 bytes of header length, a JSON header, the data). Out: its tensors and findings.
Two ways to decode: msgspec straight into typed entries (fast; every real file), and a slow, telling one that runs only
where the fast one fails or may have hidden something (a duplicate key, an escaped name), to say what is wrong.

Longer than 250 lines: the fast and the slow way to decode stand together, since they must agree.
"""

from __future__ import annotations

import hashlib
import json
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
MAX_GENERIC_COST = 224 << 20
SHORT_HEADER = 4 << 20
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
    nbytes: int = 0
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    tensors: dict[str, Entry] = msgspec.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class Decoded(Record):
    """Entries and metadata of a header's JSON; `entries` is None where it cannot be decoded."""

    entries: dict[str, Entry] | None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


_DECODER = msgspec.json.Decoder(dict[str, Entry])
# `__metadata__` first, as every known writer puts it, and what may follow its closing brace.
_METADATA = re.compile(rb'\s*\{\s*"__metadata__"\s*:\s*(?=\{)')
_AFTER = re.compile(rb'\s*(?:,(?=\s*")|(?=\s*\}))')
_FIRST = json.JSONDecoder()
MAX_METADATA = 1 << 20
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
        nbytes=sum([e.data_offsets[1] - e.data_offsets[0] for e in decoded.entries.values()]) if decoded.entries else 0,
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
    # Short ones cannot cost that much: an entry has some 50 bytes of JSON. Counting is a tenth of the whole reading.
    if len(raw) > SHORT_HEADER and _entry_cost(raw) > MAX_TYPED_COST:
        return Decoded(entries=None, findings=(note(HEADER_TOO_LARGE, file, "its header holds too many entries"),))
    metadata: dict[str, str] = {}
    body = raw
    if start := _METADATA.match(raw):
        end = _object_end(raw, start.end())
        after = _AFTER.match(raw, end) if end else None
        if after is None:
            return decode_slowly(raw, file)
        first = load(raw[start.end() : end], file)
        try:
            metadata = msgspec.convert(first.data, dict[str, str])
        except msgspec.ValidationError:
            return decode_slowly(raw, file)
        if first.findings:
            return decode_slowly(raw, file)
        body = b"{" + raw[after.end() :]
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


def _object_end(raw: bytes, start: int) -> int:
    """Where the object at `start` ends; 0 where a short look does not tell."""
    end = raw.find(b"}", start, start + MAX_METADATA) + 1
    chunk = raw[start + 1 : end]
    # No brace, no escape and every quote closed: the brace found is the object's own.
    if end and b"{" not in chunk and b"\\" not in chunk and chunk.count(b'"') % 2 == 0:
        return end
    text = raw[start : start + MAX_METADATA]
    if not text.isascii() or text.count(b"{") > 10_000 or text.count(b"[") > 10_000:
        return 0
    try:
        return start + int(_FIRST.raw_decode(text.decode("ascii"))[1])
    except (ValueError, RecursionError):
        return 0


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
    bad = _Defects(file)
    for name, value in document.data.items():
        entry = _entry(name, value, bad)
        if entry is not None:
            entries[name] = entry
    return Decoded(entries=entries, metadata=metadata, findings=(*findings, *bad.findings()))


def _entry(name: str, value: Any, bad: _Defects) -> Entry | None:
    if isinstance(value, dict) and (extra := sorted(set(value) - {"dtype", "shape", "data_offsets"})):
        bad.add(UNKNOWN_ENTRY_FIELD, name, f"has the unknown field {shown(extra[0])!r}")
        value = {k: v for k, v in value.items() if k not in extra}
    try:
        return msgspec.convert(value, Entry)
    except msgspec.ValidationError as exc:
        bad.add(BAD_ENTRY, name, str(exc))
        return None


def in_order(entries: dict[str, Entry], data_bytes: int) -> bool:
    """Whether all is well and the header lists the tensors as they lie, as safetensors writes them."""
    sizes: dict[tuple[str, tuple[int, ...]], int] = {}
    at = 0
    for entry in entries.values():
        begin, end = entry.data_offsets
        kind = (entry.dtype, entry.shape)
        size = sizes.get(kind)
        if size is None:
            size = sizes[kind] = _nbytes(entry)
        if begin != at or end - begin != size:
            return False
        at = end
    return at == data_bytes


def _nbytes(entry: Entry) -> int:
    """Bytes by dtype and shape; -1 for an unknown dtype or a size that is no whole number of bytes."""
    bits = prod(entry.shape) * BITS.get(entry.dtype, 0)
    return bits // 8 if entry.dtype in BITS and bits % 8 == 0 else -1


class _Defects:
    """Findings of one shard: the first few of each code, the others counted, so that a million cost no more."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.kept: list[Finding] = []
        self.counts: dict[str, int] = {}

    def add(self, code: str, name: str, text: str) -> None:
        count = self.counts[code] = self.counts.get(code, 0) + 1
        if count <= NAMED:
            self.kept.append(note(code, f"{self.file}: {name}" if name else self.file, text))

    def findings(self) -> list[Finding]:
        return self.kept + [
            note(code, self.file, f"{count - NAMED} more tensors of this shard have the same fault")
            for code, count in self.counts.items()
            if count > NAMED
        ]


def check_layout(entries: dict[str, Entry], data_bytes: int, file: str) -> list[Finding]:
    """Check dtypes, shapes and offsets against each other and against the bytes after the header."""
    if in_order(entries, data_bytes):
        return []
    wrong = _Defects(file)
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        begin, end = entry.data_offsets
        spans.append((begin, end, name))
        if entry.dtype not in BITS:
            wrong.add(UNKNOWN_DTYPE, name, f"has the unknown dtype {shown(entry.dtype)!r}")
        elif end < begin:
            wrong.add(BAD_OFFSETS, name, f"begins at {begin} and ends at {end}")
        elif _nbytes(entry) != end - begin:
            wrong.add(SIZE_MISMATCH, name, f"shape {_dims(entry)} of {entry.dtype} does not take {end - begin} bytes")
    spans.sort()
    at = cut = 0
    for begin, end, name in spans:
        if begin < at:
            wrong.add(OVERLAP, name, f"begins at byte {begin} of the data, before {at}")
        elif begin > at and begin <= data_bytes:
            wrong.add(HOLE, name, f"begins at byte {begin} of the data; the one before ends at {at}")
        cut += end > data_bytes
        at = max(at, end)
    if cut:
        text = f"is truncated: the data end at byte {at}, {data_bytes} are there; {cut} tensors are cut or lost"
        wrong.add(DATA_TRUNCATED, "", text)
    elif at < data_bytes:
        wrong.add(TRAILING, "", f"has {data_bytes - at} bytes after the last tensor")
    return wrong.findings()


def _dims(entry: Entry) -> str:
    return str(list(entry.shape[:8])) + ("…" if len(entry.shape) > 8 else "")
