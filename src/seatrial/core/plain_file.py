"""Reading a file that the user named: whole, bounded, and only if it is a regular file.

A named pipe would make the program wait for ever, a device would fill the memory; neither tells a size beforehand.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 64 << 20  # bytes of a settings file, which is what most callers read


def open_plain(path: Path) -> BinaryIO:
    """The file, opened for reading. OSError (EINVAL) for what is no regular file."""
    # O_NONBLOCK: opening a pipe must not wait for its writer. For regular files it means nothing.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_plain(path: Path, *, limit: int = LARGEST) -> bytes:
    """All bytes of a regular file. OSError: EINVAL for another kind of file, EFBIG above `limit` bytes."""
    with open_plain(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"Larger than {limit >> 20} MiB", str(path))
    return data
