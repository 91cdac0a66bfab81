"""JSON documents of a checkpoint, read strictly and in bounded memory.

In: bytes. Out: plain data with findings for duplicate keys and NaN or Infinity. Refuses, with a finding and no data:
broken UTF-8 or JSON, nesting too deep, git-LFS pointers, a document whose decoded form would take too much memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from seatrial.checkpoint.codes import BAD_JSON, DUPLICATE_KEY, LFS_POINTER, NOT_AN_OBJECT, NOT_FINITE, TOO_LARGE, note
from seatrial.checkpoint.files import Folder
from seatrial.core.finding import Finding
from seatrial.core.record import Record

LFS_START = b"version https://git-lfs.github.com/spec/"
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
MAX_DOCUMENT = 64 << 20
MAX_DECODED = 224 << 20


class Document(Record):
    """A decoded document (None if there is none to use) and what was noticed."""

    data: dict[str, Any] | None
    findings: tuple[Finding, ...] = ()
    present: bool = True


class RepeatedKeyError(ValueError):
    """A key stands twice in one object."""


def decoded_cost(raw: bytes) -> int:
    """An upper estimate, in bytes, of what `json.loads` builds: sizes of CPython 3.11 objects, a key with its pair."""
    return len(raw) + 240 * raw.count(b"{") + 90 * raw.count(b"[") + 40 * raw.count(b",") + 280 * raw.count(b":")


def load(raw: bytes, place: str, *, repeated: str = DUPLICATE_KEY) -> Document:
    """Decode one JSON object; `place` is the file's name, `repeated` the code for a key that stands twice."""
    if raw.startswith(LFS_START):
        return Document(data=None, findings=(note(LFS_POINTER, place, "is a git-LFS pointer, not the file itself"),))
    if decoded_cost(raw) > MAX_DECODED:
        return Document(data=None, findings=(note(TOO_LARGE, place, "is too complex to decode in bounded memory"),))
    findings: list[Finding] = []
    seen: set[str] = set()

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            seen.update(key for key, times in Counter(key for key, _ in items).items() if times > 1)
        return found

    def constant(text: str) -> float:
        if not any(f.code == NOT_FINITE for f in findings):
            findings.append(note(NOT_FINITE, place, f"holds {text}"))
        return float(text)

    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except UnicodeDecodeError as exc:
        return Document(data=None, findings=(note(BAD_JSON, place, f"is not UTF-8 at byte {exc.start}"),))
    except RecursionError:
        return Document(data=None, findings=(note(BAD_JSON, place, "is nested too deeply"),))
    except ValueError as exc:
        return Document(data=None, findings=(note(BAD_JSON, place, f"is not JSON: {exc}"),))
    if SURROGATE.search(raw) and not _encodable(data):
        return Document(data=None, findings=(note(BAD_JSON, place, "holds half of a surrogate pair: no text"),))
    findings += [note(repeated, place, f"the key {key!r} stands twice in one object") for key in sorted(seen)[:20]]
    if not isinstance(data, dict):
        return Document(
            data=None, findings=(*findings, note(NOT_AN_OBJECT, place, f"holds {type(data).__name__}, not an object"))
        )
    return Document(data=data, findings=tuple(findings))


def _encodable(data: Any) -> bool:
    """Whether all strings are text: JSON's escapes can spell what no UTF-8 file can hold."""
    try:
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read(folder: Folder, name: str, *, limit: int = MAX_DOCUMENT) -> Document:
    """The JSON object in a file of the folder; absent (no finding) if there is no such file."""
    if not folder.has(name):
        return Document(data=None, present=False)
    content = folder.read(name, limit=limit)
    if isinstance(content, Finding):
        return Document(data=None, findings=(content,))
    return load(content.data, name)
