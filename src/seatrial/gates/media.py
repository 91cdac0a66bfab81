"""Media made on the spot for multimodal requests: nothing is downloaded, the same bytes every time."""

from __future__ import annotations

import base64
import io
import math
import struct
import wave
import zlib


def png(width: int = 64, height: int = 64, radius: float = 16) -> bytes:
    """A red disc on a white-to-blue gradient, 8-bit RGB."""
    rows = []
    for y in range(height):
        row = bytearray(b"\0")
        for x in range(width):
            inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 <= radius**2
            row += b"\xd0\x20\x20" if inside else bytes((255 - 255 * x // width, 255 - 255 * y // height, 255))
        rows.append(bytes(row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def frames(count: int = 4) -> str:
    """A `video/jpeg` data URL, which vLLM reads as frames in base64 with commas between: a disc that grows.

    Each frame is a PNG: vLLM opens a frame by its content, not by the name of its type.
    """
    shown = (base64.b64encode(png(radius=4 + 4 * number)).decode() for number in range(count))
    return f"data:video/jpeg;base64,{','.join(shown)}"


def wav(seconds: float = 1.0, rate: int = 16000) -> bytes:
    """A tone of 440 Hz, 16-bit mono: the rate that speech models resample to."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        samples = (round(12000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(int(seconds * rate)))
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return stream.getvalue()


def data_url(data: bytes, kind: str) -> str:
    """`data:image/png;base64,…`"""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
