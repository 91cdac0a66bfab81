"""Packed files as streams: gz by the standard library, zst where a decoder can be imported."""

from __future__ import annotations

import gzip
import importlib
import zlib
from pathlib import Path
from typing import IO, Any

from seatrial.core.errors import FileFormatError

PACKED = {".gz", ".zst"}


class _Zstd:
    """A stream of any of the zstd modules; what they raise for damage becomes zlib's error, which gz has too."""

    def __init__(self, stream: IO[bytes], error: type[Exception]) -> None:
        self._stream, self._error = stream, error

    def __enter__(self) -> _Zstd:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except self._error as exc:
            raise zlib.error(str(exc)) from exc


def open_packed(path: Path) -> IO[bytes]:
    """The unpacked bytes; raises FileFormatError without a zstd decoder. A torn end raises EOFError when it is met,
    damage zlib.error.
    """
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    for name in ("compression.zstd", "backports.zstd", "zstandard", "pyzstd"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        return _Zstd(module.open(path, "rb"), module.ZstdError)  # type: ignore[return-value]
    raise FileFormatError(
        f"{path.name}: no zstd decoder in this Python", mend="Run `zstd -d` on it, or pip install zstandard."
    )
