"""Compressed streams to their text, as far as the damage lets.

In: an open binary stream. Out: a stream of what it holds: gz, bz2, xz told by their first bytes, zst where a decoder
can be imported; what was unpacked before a fault comes out before the error.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zlib
from typing import IO, Any, cast

MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
MAGIC_BYTES = max(map(len, MAGIC))
# A decompressor that loses its way gives up what it was handed at once: small portions lose little.
PORTION = 4 << 10
# Four bytes of a Zstandard frame may stand for 128 KiB, and its decoder gives all that it can at once.
BITE = 256
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)


def packing_of(head: bytes) -> str:
    """By which of the known ways a file that begins so is packed, "" for none."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")


def unpacked(handle: IO[bytes] | Hashed) -> Any:
    """The text of a stream that may be compressed."""
    head = b""
    while len(head) < MAGIC_BYTES and (more := handle.read(MAGIC_BYTES - len(head))):
        head += more
    ahead = Ahead(head, handle)
    whole = cast("IO[bytes]", ahead)
    packing = packing_of(head)
    if not packing:
        return whole
    ahead.portion = PORTION
    if packing == "gz":
        return _Salvaged(gzip.GzipFile(fileobj=whole))
    if packing == "bz2":
        return _Salvaged(bz2.BZ2File(whole))
    return _Salvaged(lzma.LZMAFile(whole)) if packing == "xz" else _open_zst(whole)


class _Salvaged:
    """What a damaged archive held before the damage comes out first, then the error."""

    def __init__(self, handle: Any, *more: type[Exception]) -> None:
        self._handle = handle
        self._damage: tuple[type[Exception], ...] = (*DAMAGE, *more)
        self._error: OSError | None = None

    def read(self, size: int) -> bytes:
        if self._error is not None:
            raise self._error
        parts: list[bytes] = []
        left = size
        while left > 0:
            try:
                data = self._handle.read1(left)
            except self._damage as exc:
                self._error = OSError(str(exc))
                if not parts:
                    raise self._error from exc
                break
            if not data:
                break
            parts.append(data)
            left -= len(data)
        return b"".join(parts)


class Hashed:
    """A stream whose bytes go into a hash as they are read."""

    def __init__(self, raw: IO[bytes], into: Any) -> None:
        self._raw = raw
        self._into = into

    def read(self, size: int) -> bytes:
        data = self._raw.read(size)
        self._into.update(data)
        return data

    def close(self) -> None:
        """Nothing: the file is still needed, to hash what nobody read."""


def _open_zst(stream: IO[bytes]) -> Any:
    for name in ("compression.zstd", "backports.zstd", "zstandard", "pyzstd"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        # `zstandard` ends at the first of several frames, and takes a cut file for a whole one.
        handle = _Frames(module, stream) if name == "zstandard" else module.open(stream, "rb")
        return _Salvaged(handle, module.ZstdError)
    raise OSError("no zstd decoder in this Python; run `zstd -d` first, or install the package zstandard")


class _Frames:
    """Zstandard frames one after the other, by the package `zstandard`; EOFError where the last one is cut."""

    def __init__(self, module: Any, stream: IO[bytes]) -> None:
        self._module = module
        self._stream = stream
        self._frame: Any = None
        self._in = memoryview(b"")
        self._out = b""
        self._given = 0  # bytes of it

    def read1(self, size: int) -> bytes:
        while self._given >= len(self._out):
            self._in = self._in or memoryview(self._stream.read(PORTION))
            if not self._in:
                if self._frame is None:
                    return b""
                raise EOFError("Compressed file ended before the end of its last frame")
            if self._frame is None:
                self._frame = self._module.ZstdDecompressor().decompressobj()
            self._out, self._given = b"", 0  # gone before the next is there
            bite = self._in[:BITE]
            self._out = self._frame.decompress(bite)
            unused = len(self._frame.unused_data) if self._frame.eof else 0
            self._in = self._in[len(bite) - unused :]
            self._frame = None if self._frame.eof else self._frame
        data = self._out[self._given : self._given + size]
        self._given += len(data)
        return data


class Ahead(io.RawIOBase):
    """A raw stream of which the first bytes have been read already."""

    def __init__(self, first: bytes, rest: IO[bytes] | Hashed) -> None:
        self._first = first
        self._rest = rest
        self.portion = 0  # the most that is handed out at once; 0 for what is asked for

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes | None:
        size = min(size, self.portion) if self.portion and size > 0 else size
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
