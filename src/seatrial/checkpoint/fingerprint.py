"""A checkpoint's fingerprint: a hash of everything small in it, and of the shards' headers, sizes and times.

The bytes of the weights themselves are NOT read: a changed weight is seen only by its shard's size or mtime_ns.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from seatrial.checkpoint.files import Folder, Opened, read_span
from seatrial.checkpoint.headers import MAX_HEADER
from seatrial.core.finding import Finding

# Files that change what a model is or says, by suffix; larger ones count by size and time only.
SMALL = (".json", ".jinja", ".txt", ".model", ".py", ".tiktoken", ".jsonl", ".yaml", ".yml", ".toml")
MOST_BYTES = 64 << 20


def fingerprint(folder: Path) -> str:
    """`sha256:…`. Stable while nothing changes; raises UsageError like `read_checkpoint`.

    Of a folder with more entries than are looked at it covers those, and that there are more.
    """
    place = Folder(folder)
    total = hashlib.sha256()
    for name in place.names:
        if name.endswith((*SMALL, ".safetensors", ".gguf", ".bin")):
            total.update(_line(place, name))
    for child in place.names:
        if (place.root / child).is_dir() and not (place.root / child).is_symlink() and not child.startswith("."):
            total.update(f"{child}/\0".encode("utf-8", "surrogateescape"))
    if not place.whole:
        total.update(b"\0more entries\0")
    return f"sha256:{total.hexdigest()}"


def _line(place: Folder, name: str) -> bytes:
    opened = place.open(name)
    if isinstance(opened, Finding):
        what = f"{opened.code}"
    else:
        try:
            what = _content(opened, name)
        except OSError as exc:
            what = f"unreadable {exc.errno}"
        finally:
            os.close(opened.descriptor)
    return f"{name}\0{what}\0".encode("utf-8", "surrogateescape")


def _content(opened: Opened, name: str) -> str:
    if name.endswith(".safetensors"):
        length = read_span(opened.descriptor, 0, 8)
        wanted = min(int.from_bytes(length, "little"), MAX_HEADER, opened.size)
        head = length + read_span(opened.descriptor, 8, wanted)
        return f"{hashlib.sha256(head).hexdigest()} {opened.size} {opened.mtime_ns}"
    if opened.size > MOST_BYTES or not name.endswith(SMALL):
        return f"{opened.size} {opened.mtime_ns}"
    return hashlib.sha256(read_span(opened.descriptor, 0, opened.size)).hexdigest()
