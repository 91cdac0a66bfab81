"""The one way to write a file so that a reader sees the old content or the new, never a half.

An OSError (no space, no permission) reaches the caller, who knows what the file was for. What is there and is no
regular file is refused: the rename would put a file in the place of a device, for every program of the machine.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` by temporary file, fsync and rename in the same folder. EINVAL for a device, a pipe."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            ordinary_mode(stream.fileno())
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def ordinary_mode(handle: int) -> None:
    """Give a temporary file the permissions that an ordinary new file would have."""
    mask = os.umask(0o077)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)


def sync_folder(folder: Path) -> None:
    """Make a rename or creation in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
