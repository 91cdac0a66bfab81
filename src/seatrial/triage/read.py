"""Log files to chunks of bytes that end at a line end, in constant memory.

In: paths (files or folders), or an open binary stream. Out: for each file its chunks; what cannot be read is a
`SourceNote` with a reason. gz, bz2 and xz are told by their first bytes, whatever the name, and decompressed on the
fly; zst where a decoder can be imported. Refuses a path that does not exist. Symbolic links inside a folder are not
followed; decompressed data is bounded.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import importlib
import io
import lzma
import os
import select
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from seatrial.core.errors import UsageError

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
MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
MAGIC_BYTES = max(map(len, MAGIC))
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
        return head[:2] not in BOMS and not _packing(head) and not _looks_binary(head)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def chunks(self, *, hashed: bool = False) -> Iterator[bytes]:
        """Pieces of about CHUNK bytes that end with a line end (except the last, or inside an over-long line)."""
        try:
            with self._raw() as raw:
                part = self.start or self.end is not None
                yield from self._pieces(raw if part else _unpacked(raw), hashed)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as exc:
            self.dropped = f"read only up to byte {self.size}: {exc}" if self.size else f"cannot be read: {exc}"

    def _raw(self) -> IO[bytes]:
        if self.stream is not None:
            return self.stream
        if self.path is None:
            raise OSError("no path")
        handle = self.path.open("rb", buffering=0)
        handle.seek(self.start)
        return cast("IO[bytes]", handle)

    def _pieces(self, handle: IO[bytes], hashed: bool) -> Iterator[bytes]:
        carry = b""
        decoder: codecs.IncrementalDecoder | None = None
        while data := handle.read(CHUNK if self.end is None else min(CHUNK, self.end - self.start - self.size)):
            if self.size == 0 and data[:2] in BOMS:
                decoder = codecs.getincrementaldecoder(BOMS[data[:2]])("replace")
            if self.size == 0 and decoder is None and _looks_binary(data):
                self.dropped = "is not text"
                return
            self.size += len(data)
            if self.size > MAX_DECOMPRESSED:
                self.dropped = f"read only the first {MAX_DECOMPRESSED >> 30} GiB"
                return
            if hashed:
                self._hash.update(data)
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


def _looks_binary(head: bytes) -> bool:
    sample = head[:4096]
    if sample.count(0) > len(sample) // 10 + 8 or head[:4] in {b"PK\x03\x04", b"\x7fELF"}:
        return True
    # Text has next to none of these in any encoding; compressed or random bytes have a tenth.
    return len(sample) >= 64 and len(sample) - len(sample.translate(None, CONTROL)) > len(sample) // 30


def _packing(head: bytes) -> str:
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")


def _unpacked(handle: IO[bytes]) -> Any:
    """The text of a stream that may be compressed."""
    head = b""
    while len(head) < MAGIC_BYTES and (more := handle.read(MAGIC_BYTES - len(head))):
        head += more
    whole = cast("IO[bytes]", _Ahead(head, handle))
    packing = _packing(head)
    if packing == "gz":
        return gzip.GzipFile(fileobj=whole)
    if packing == "bz2":
        return bz2.BZ2File(whole)
    if packing == "xz":
        return lzma.LZMAFile(whole)
    return _open_zst(whole) if packing == "zst" else whole


def _open_zst(stream: IO[bytes]) -> Any:
    for name in ("compression.zstd", "backports.zstd", "zstandard", "pyzstd"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        return module.open(stream, "rb")
    raise OSError("no zstd decoder in this Python; run `zstd -d` first, or install the package zstandard")


class _Ahead(io.RawIOBase):
    """A raw stream of which the first bytes have been read already."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes | None:
        first, self._first = (self._first, b"") if size < 0 else (self._first[:size], self._first[size:])
        more = -1 if size < 0 else size - len(first)
        return first + (self._rest.read(more) or b"") if more else first

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer)) or b""
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._rest.close()
        super().close()


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
    return cast("IO[bytes]", _Ahead(first or b"", raw))


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
    for count, path in enumerate(sorted(folder.rglob("*"))):
        entry = LogFile(str(path), path)
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if count >= MAX_FILES:
            entry.dropped = f"the folder holds more than {MAX_FILES} entries"
        elif not stat.S_ISREG(mode):
            entry.dropped = "is not a regular file"
        elif path.suffix.lower() in NOT_LOGS:
            entry.dropped = f"a {path.suffix} file is not a log"
        yield entry
