"""The index of the shards (`*.safetensors.index.json`): decoded, and compared with what the shards hold.

In: the index's bytes; the tensors found. Out: the map of tensor names to shard names, and findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from seatrial.checkpoint.codes import (
    BAD_INDEX,
    INDEX_ESCAPES,
    NESTED_SHARD,
    NOT_IN_INDEX,
    TENSOR_ABSENT,
    TOO_LARGE,
    TOTAL_SIZE,
    WRONG_SHARD,
    note,
)
from seatrial.checkpoint.documents import MAX_DECODED, load
from seatrial.checkpoint.files import Folder
from seatrial.core.finding import Finding
from seatrial.core.record import Record

MAIN = "model.safetensors.index.json"
SUFFIX = ".safetensors.index.json"
MAX_INDEX = 256 << 20
MAX_SHARDS = 10_000
NAMED = 5


class Index(Record):
    """The map from tensor to shard; `usable` false where it cannot be decoded."""

    file: str
    usable: bool
    weight_map: dict[str, str] = msgspec.field(default_factory=dict)
    total_size: int | None = None
    findings: tuple[Finding, ...] = ()

    def shards(self) -> list[str]:
        return sorted(set(self.weight_map.values()))


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    weight_map: dict[str, str]
    metadata: dict[str, Any] | None = None


def find_index(folder: Folder) -> str | None:
    """The index a loader would take: the main one, else the only one there is."""
    names = [n for n in folder.names if n.endswith(SUFFIX)]
    if MAIN in names:
        return MAIN
    return names[0] if len(names) == 1 else None


def read_index(folder: Folder, file: str) -> Index:
    """Read and check the index by itself."""
    content = folder.read(file, limit=MAX_INDEX)
    if isinstance(content, Finding):
        return Index(file=file, usable=False, findings=(content,))
    raw = content.data
    # A map of strings: about 260 bytes an entry with both strings (shard names are not shared by the decoder).
    if 65 * raw.count(b'"') + len(raw) > 2 * MAX_DECODED:
        return Index(file=file, usable=False, findings=(note(TOO_LARGE, file, "names too many tensors"),))
    found: list[Finding] = []
    fast = _fast(raw)
    if fast is None:
        document = load(raw, file)
        found += document.findings
        if document.data is None:
            return Index(file=file, usable=False, findings=tuple(found))
        try:
            fast = msgspec.convert({k: document.data.get(k) for k in ("weight_map", "metadata")}, _Raw)
        except msgspec.ValidationError as exc:
            found.append(note(BAD_INDEX, file, str(exc)))
            return Index(file=file, usable=False, findings=tuple(found))
    total = (fast.metadata or {}).get("total_size")
    shards = set(fast.weight_map.values())
    if len(shards) > MAX_SHARDS:
        found.append(note(TOO_LARGE, file, f"names {len(shards)} shards; at most {MAX_SHARDS} are read"))
        return Index(file=file, usable=False, findings=tuple(found))
    for shard in sorted(shards):
        path = PurePosixPath(shard)
        if path.is_absolute() or ".." in path.parts or "\0" in shard or not shard:
            found.append(note(INDEX_ESCAPES, f"{file}: weight_map", f"names {shard!r}"))
        elif len(path.parts) > 1:
            found.append(note(NESTED_SHARD, f"{file}: weight_map", f"names {shard!r}"))
    # Old writers put a float here; a bool or a string is no size.
    size = (
        int(total) if isinstance(total, (int, float)) and not isinstance(total, bool) and abs(total) < 2**63 else None
    )
    return Index(file=file, usable=True, weight_map=fast.weight_map, total_size=size, findings=tuple(found))


def _fast(raw: bytes) -> _Raw | None:
    """Typed decoding; None where it fails or may have swallowed a duplicate key."""
    if b"\\" in raw:
        return None
    try:
        index = msgspec.json.decode(raw, type=_Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    strings = 2 * len(index.weight_map) + 1 + raw.count(b'"metadata"')
    for value in (index.metadata or {}).values():
        if isinstance(value, (dict, list)):
            return None
        strings += 1 + isinstance(value, str)
    return index if raw.count(b'"') == 2 * strings else None


def safe(shard: str) -> bool:
    """Whether a shard's name may be opened."""
    path = PurePosixPath(shard)
    return bool(shard) and not path.is_absolute() and ".." not in path.parts and "\0" not in shard


def compare(index: Index, owners: Mapping[str, str], unreadable: set[str], total: int) -> list[Finding]:
    """The index against the shards: `owners` maps each tensor found to its shard.

    Tensors of `unreadable` shards are not called absent: the shard's own finding says why they cannot be seen.
    """
    found: list[Finding] = []
    if owners is not index.weight_map and owners != index.weight_map:
        absent = [n for n, s in index.weight_map.items() if n not in owners and s not in unreadable]
        moved = [n for n, s in index.weight_map.items() if n in owners and owners[n] != s]
        extra = [n for n in owners if n not in index.weight_map]
        for code, names in ((TENSOR_ABSENT, absent), (WRONG_SHARD, moved), (NOT_IN_INDEX, extra)):
            found += _named(code, names, index, owners)
    if index.total_size is not None and not unreadable and index.total_size != total:
        text = f"metadata.total_size is {index.total_size}, the tensors take {total} bytes"
        found.append(note(TOTAL_SIZE, index.file, text))
    return found


def _named(code: str, names: list[str], index: Index, owners: Mapping[str, str]) -> list[Finding]:
    texts = {
        TENSOR_ABSENT: lambda n: f"is said to be in {index.weight_map[n]}, which does not hold it",
        WRONG_SHARD: lambda n: f"is said to be in {index.weight_map[n]}, but is in {owners[n]}",
        NOT_IN_INDEX: lambda n: f"is in {owners[n]}, but not in {index.file}",
    }
    found = [note(code, name, texts[code](name)) for name in names[:NAMED]]
    if len(names) > NAMED:
        found.append(note(code, index.file, f"{len(names) - NAMED} more tensors have the same fault"))
    return found
