"""Log files to chunks of bytes that end at a line end, in constant memory.

In: paths (files or folders), or an open binary stream. Out: for each file its chunks; what cannot be read is a
`SourceNote` with a reason; what a damaged archive still holds is given before it. Compressed files are told by their
first bytes, whatever the name (unpack.py). Refuses a path that does not exist. Symbolic links inside a folder are not
followed; decompressed data is bounded.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import select
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from seatrial.core.errors import UsageError
from seatrial.triage.unpack import DAMAGE, Ahead, Hashed, packing_of, unpacked

CHUNK = 4 << 20
# A line longer than this is cut into pieces; nothing a person reads is longer.
MAX_LINE = 64 << 10
MAX_DECOMPRESSED = 64 << 30
MAX_FILES = 10_000
PIPE_WAIT_S = 2
NOT_LOGS = {
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".so",
    ".png",
    ".jpg",
    ".whl",
    ".tar",
    ".zip",
    ".db",
    ".sqlite",
    ".pyc",
}
CONTROL = bytes(set(range(1, 32)) - set(b"\b\t\n\r\f\x1b"))
BOMS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class LogFile:
    """One input by the name shown to people; `stream` is set for standard input."""

    def __init__(self, name: str, path: Path | None = None, stream: IO[bytes] | None = None) -> None:
        self.name = name
        self.path = path
        self.stream = stream
        self.size = 0
        self.dropped = ""
        self.start = 0
        self.end: int | None = None  # for a part of a plain file: bytes from start to end
        self._hash = hashlib.sha256()

    def plain(self) -> bool:
        """Whether the bytes on disk are the text itself, so that the file can be read in parts."""
        if self.path is None or self.stream is not None:
            return False
        try:
            with self.path.open("rb") as handle:
                head = handle.read(4096)
        except OSError:
            return False  # `chunks` meets the same error and notes it as the reason
        return not _wide(head) and not packing_of(head) and head[:1] != b"\0" and not _not_text(head)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def chunks(self, *, hashed: bool = False) -> Iterator[bytes]:
        """Pieces of about CHUNK bytes that end with a line end (except the last, or inside an over-long line)."""
        try:
            with self._raw() as raw:
                source = Hashed(raw, self._hash) if hashed else raw
                part = self.start or self.end is not None
                yield from self._pieces(source if part else unpacked(source))
                while hashed and source.read(CHUNK):
                    pass  # the hash is that of the whole file, whatever was made of it
        except DAMAGE as exc:
            self._damaged(exc)

    def _damaged(self, exc: Exception) -> None:
        self.dropped = f"read only up to byte {self.size}: {exc}" if self.size else f"cannot be read: {exc}"

    def _raw(self) -> IO[bytes]:
        if self.stream is not None:
            return self.stream
        if self.path is None:
            raise OSError("no path")
        handle = self.path.open("rb", buffering=0)
        handle.seek(self.start)
        return cast("IO[bytes]", handle)

    def _pieces(self, handle: Any) -> Iterator[bytes]:
        carry = b""
        decoder: codecs.IncrementalDecoder | None = None
        begun = False
        while True:
            try:
                data = handle.read(CHUNK if self.end is None else min(CHUNK, self.end - self.start - self.size))
            except DAMAGE as exc:
                self._damaged(exc)
                break
            if not data:
                break
            self.size += len(data)
            if self.size > MAX_DECOMPRESSED:
                self.dropped = f"read only the first {MAX_DECOMPRESSED >> 30} GiB"
                break
            if not begun:
                if encoding := _wide(data):
                    decoder = codecs.getincrementaldecoder(encoding)("replace")
                else:
                    # A log that was emptied under its writer's feet begins with zeros.
                    data = data.removeprefix(codecs.BOM_UTF8).lstrip(b"\0")
                    self.dropped = _not_text(data) if data else ""
                    if self.dropped:
                        return
                begun = bool(data)
            if decoder is not None:
                data = decoder.decode(data).encode()
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if end == 0:
                carry += data
                while len(carry) > MAX_LINE:
                    yield carry[:MAX_LINE]
                    carry = carry[MAX_LINE:]
                continue
            yield carry + data[:end]
            carry = data[end:]
        if carry:
            yield carry
        if self.size and not begun:
            self.dropped = "is not text: it holds zeros alone"


def _wide(head: bytes) -> str:
    """The encoding of a text of two bytes a character: by its mark, or by the zeros in every second place."""
    if head[:2] in BOMS:
        return BOMS[head[:2]]
    sample = head[:4096]
    if len(sample) < 64 or sample.count(0) < len(sample) // 3:
        return ""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if min(even, odd) > len(sample) // 50:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _not_text(head: bytes) -> str:
    """Why these first bytes are no log, "" where they may be one."""
    for kind, magic, at in (("tar", b"ustar", 257), ("zip", b"PK\x03\x04", 0)):
        if head[at : at + len(magic)] == magic:
            return f"is a {kind} archive; unpack it and give its folder"
    return "is not text" if _looks_binary(head) else ""


def _looks_binary(head: bytes) -> bool:
    sample = head[:4096]
    if sample.count(0) > len(sample) // 10 + 8 or head[:4] == b"\x7fELF":
        return True
    # Text has next to none of these in any encoding; compressed or random bytes have a tenth.
    return len(sample) >= 64 and len(sample) - len(sample.translate(None, CONTROL)) > len(sample) // 30


def open_pipe(path: Path) -> IO[bytes]:
    """A named pipe (or `<(command)`) as a stream; raises UsageError when nobody writes to it, instead of waiting."""
    raw = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    watch = select.poll()
    watch.register(raw, select.POLLIN)
    ready = bool(watch.poll(PIPE_WAIT_S * 1000))
    # A pipe that nobody has opened to write is silent like a writer with nothing to say; only a read tells them apart.
    first = b"" if ready else raw.read(1)
    if not ready and first == b"":
        raw.close()
        raise UsageError(
            f"{path} is a named pipe and nothing writes to it",
            mend="Start the writer first, or give the log as a file or on standard input (-).",
        )
    os.set_blocking(raw.fileno(), True)
    return cast("IO[bytes]", Ahead(first or b"", raw))


def gather(paths: Iterable[Path | str]) -> list[LogFile]:
    """The files named, and those below the folders named, in a stable order."""
    found: list[LogFile] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found.extend(_below(path))
        elif path.is_fifo():
            found.append(LogFile(str(given), stream=open_pipe(path)))
        elif path.exists():
            found.append(LogFile(str(given), path))
        else:
            raise UsageError(f"there is no log {given}", mend="Give files, folders, or - for standard input.")
    return found


def _below(folder: Path) -> Iterator[LogFile]:
    """What lies below a folder, sorted by path; a folder that cannot be looked into is an entry that was not read."""
    found: list[LogFile] = []

    def note(exc: OSError) -> None:
        entry = LogFile(str(exc.filename or folder), Path(str(exc.filename or folder)))
        entry.dropped = f"cannot be read: {exc}"
        found.append(entry)

    for at, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        for name in (*folders, *names):
            path = Path(at) / name
            if not path.is_symlink() and path.is_dir():
                continue
            found.append(_entry(path))
        if len(found) > MAX_FILES:
            found[MAX_FILES:] = [LogFile(str(folder), folder)]
            found[-1].dropped = f"cannot be read whole: it holds more than {MAX_FILES} files"
            break
    yield from sorted(found, key=lambda entry: entry.name)


def _entry(path: Path) -> LogFile:
    entry = LogFile(str(path), path)
    try:
        mode = path.lstat().st_mode
    except OSError as exc:
        entry.dropped = f"cannot be read: {exc}"
        return entry
    if not stat.S_ISREG(mode):
        entry.dropped = "is not a regular file"
    elif path.suffix.lower() in NOT_LOGS:
        entry.dropped = f"a {path.suffix} file is not a log"
    return entry
