"""The only way this folder's code opens a file of a checkpoint: never outside it, never a device, never unbounded.

In: a checkpoint's folder and a name in it. Out: an open descriptor with its size and time, or a finding that says why
not. Refuses: symlinks that leave the folder (except into the blobs of the same Hugging Face cache repository, which is
how its snapshots are stored), names that are not UTF-8, anything but regular files, anything beyond the caller's bound.
"""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path, PurePosixPath

from seatrial.checkpoint.codes import NOT_REGULAR, OUTSIDE, TOO_LARGE, TOO_MANY_FILES, note, shown
from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import Record

# More than any real checkpoint has at its top; a bound for hostile folders.
MAX_ENTRIES = 20_000


class Opened(Record):
    """A regular file open for reading. The caller closes `descriptor`."""

    descriptor: int
    size: int
    mtime_ns: int


class Content(Record):
    """A file's bytes."""

    data: bytes
    mtime_ns: int


class Folder:
    """A checkpoint's folder. `root` is its real path; `blobs` the cache's blob folder, if it is a snapshot there.

    `names` are its entries, at most MAX_ENTRIES of them; `whole` is false where it has more, which is a finding too.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.root = folder.resolve(strict=True)
            entries = os.scandir(self.root)
        except (OSError, RuntimeError, ValueError) as exc:
            raise UsageError(
                f"{shown(folder)} is not a readable checkpoint folder: {getattr(exc, 'strerror', None) or exc}",
                mend="Name a local folder that holds config.json and the .safetensors files.",
            ) from exc
        with entries:
            names = sorted(e.name for e in islice(entries, MAX_ENTRIES))
            self.whole = next(entries, None) is None
        self.names = [name for name in names if _is_text(name)]
        found = [
            note(NOT_REGULAR, os.fsencode(name).decode("utf-8", "replace"), "has a name that is not UTF-8")
            for name in names
            if not _is_text(name)
        ]
        if not self.whole:
            found.append(note(TOO_MANY_FILES, ".", f"holds more than {MAX_ENTRIES} entries; the others were not seen"))
        self.findings = tuple(found)
        self.blobs = self._cache_blobs()

    def _cache_blobs(self) -> Path | None:
        """`<repo>/blobs` where the root is `<repo>/snapshots/<revision>` of a Hugging Face cache."""
        snapshots = self.root.parent
        blobs = snapshots.parent / "blobs"
        return blobs if snapshots.name == "snapshots" and blobs.is_dir() and not blobs.is_symlink() else None

    def has(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def open(self, name: str) -> Opened | Finding:
        """Open a file of the folder; `name` is relative, without '..' (else OUTSIDE)."""
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\0" in name:
            return note(OUTSIDE, name, "the name leads out of the folder")
        try:
            real = (self.root / relative).resolve(strict=True)
        except (OSError, RuntimeError) as exc:
            return note(NOT_REGULAR, name, f"cannot be opened: {getattr(exc, 'strerror', None) or exc}")
        if not self._allowed(real):
            return note(OUTSIDE, name, "is a symlink that leads out of the checkpoint's folder")
        try:
            # O_NONBLOCK: opening a FIFO must not wait for a writer; O_NOFOLLOW: the path was resolved just before.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            return note(NOT_REGULAR, name, f"cannot be opened: {exc.strerror or exc}")
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return note(NOT_REGULAR, name, f"is {_kind(status.st_mode)}, not a regular file")
        return Opened(descriptor=descriptor, size=status.st_size, mtime_ns=status.st_mtime_ns)

    def _allowed(self, real: Path) -> bool:
        if real.is_relative_to(self.root):
            return True
        return self.blobs is not None and real.parent == self.blobs

    def read(self, name: str, *, limit: int) -> Content | Finding:
        """A whole file of at most `limit` bytes."""
        opened = self.open(name)
        if isinstance(opened, Finding):
            return opened
        try:
            if opened.size > limit:
                return note(TOO_LARGE, name, f"holds {opened.size} bytes; at most {limit} are read")
            return Content(data=read_span(opened.descriptor, 0, opened.size), mtime_ns=opened.mtime_ns)
        except OSError as exc:
            return note(NOT_REGULAR, name, f"cannot be read: {exc.strerror or exc}")
        finally:
            os.close(opened.descriptor)

    def size(self, name: str) -> int | None:
        """Bytes of a regular file that may be opened; else None."""
        opened = self.open(name)
        if isinstance(opened, Finding):
            return None
        os.close(opened.descriptor)
        return opened.size


def read_span(descriptor: int, begin: int, length: int) -> bytes:
    """Up to `length` bytes from `begin`; fewer at the end of the file."""
    data = os.pread(descriptor, length, begin)
    if len(data) == length or not data:
        return data
    parts = [data]
    got = len(data)
    while got < length:
        data = os.pread(descriptor, length - got, begin + got)
        if not data:
            break
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8 (Python marks other bytes by surrogates)."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def _kind(mode: int) -> str:
    tests = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a FIFO",
        stat.S_ISCHR: "a character device",
        stat.S_ISBLK: "a block device",
        stat.S_ISSOCK: "a socket",
    }
    return next((words for test, words in tests.items() if test(mode)), "something special")
