"""Media made on the spot for multimodal requests: nothing is downloaded, the same bytes every time."""

from __future__ import annotations

import base64
import struct
import zlib


def png(width: int = 64, height: int = 64) -> bytes:
    """A red disc on a white-to-blue gradient, 8-bit RGB."""
    rows = []
    radius = min(width, height) / 4
    for y in range(height):
        row = bytearray(b"\0")
        for x in range(width):
            inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 <= radius**2
            row += b"\xd0\x20\x20" if inside else bytes((255 - 255 * x // width, 255 - 255 * y // height, 255))
        rows.append(bytes(row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def data_url(data: bytes, kind: str) -> str:
    """`data:image/png;base64,…`"""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
