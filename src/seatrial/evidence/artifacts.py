"""Artifacts: files kept under the SHA-256 of their content, so that a changed one is noticed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from seatrial.core.atomic import ordinary_mode, sync_folder, write_atomic
from seatrial.core.record import Record

CHUNK = 1 << 20


class ArtifactRef(Record):
    """Name given by the step, content hash (hex), size in bytes, and the file's name inside `artifacts/`."""

    name: str
    sha256: str
    bytes: int
    file: str


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def store_bytes(folder: Path, name: str, data: bytes) -> ArtifactRef:
    """Keep `data`; returns where."""
    digest = hashlib.sha256(data).hexdigest()
    ref = ArtifactRef(name=name, sha256=digest, bytes=len(data), file=digest + _suffix(name))
    # Written even if a file of that name is there: it may have been changed since.
    write_atomic(folder / ref.file, data)
    return ref


def store_file(folder: Path, name: str, source: Path) -> ArtifactRef:
    """Keep a copy of the file `source`, hashed while it is copied (constant memory)."""
    digest = hashlib.sha256()
    size = 0
    handle, temporary = tempfile.mkstemp(prefix=".artifact.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out, source.open("rb") as stream:
            ordinary_mode(out.fileno())
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        ref = ArtifactRef(name=name, sha256=digest.hexdigest(), bytes=size, file=digest.hexdigest() + _suffix(name))
        shutil.move(temporary, folder / ref.file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return ref


def _suffix(name: str) -> str:
    """The name's last suffix if it is a short plain one, so that a browser knows what to do with the file."""
    suffix = Path(name).suffix
    return suffix if suffix[1:].isalnum() and len(suffix) <= 8 else ""
