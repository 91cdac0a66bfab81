"""Packed files as streams: gz by the standard library, zst where a decoder can be imported."""

from __future__ import annotations

import gzip
import importlib
from pathlib import Path
from typing import IO, Any

from seatrial.core.errors import FileFormatError

PACKED = {".gz", ".zst"}


def open_packed(path: Path) -> IO[bytes]:
    """The unpacked bytes; raises FileFormatError without a zstd decoder. A torn end raises EOFError when it is met."""
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    for name in ("compression.zstd", "backports.zstd", "zstandard", "pyzstd"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        stream: IO[bytes] = module.open(path, "rb")
        return stream
    raise FileFormatError(
        f"{path.name}: no zstd decoder in this Python", mend="Run `zstd -d` on it, or pip install zstandard."
    )
