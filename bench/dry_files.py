"""Header tensors as a real safetensors file with random values, with the standard library alone."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterable
from math import prod
from pathlib import Path

from seatrial.dryrun import HeaderTensor

SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "I64": 8, "I8": 1, "U8": 1, "F8_E4M3": 1, "F8_E8M0": 1}
# Which byte of an element holds its sign and exponent, and what it may be: numbers between 0.1 and 4 or so, no NaN.
HIGH = {"BF16": (1, b"\x3e\x3f\xbe\xbf"), "F16": (1, b"\x34\x38\x3c\xb4\xb8\xbc"), "F32": (3, b"\x3e\x3f\xbe\xbf")}
NO_NAN = bytes(b if b & 0x7F != 0x7F else b - 1 for b in range(256))


def values(dtype: str, count: int, rng: random.Random) -> bytes:
    """`count` random elements as bytes; the same generator gives the same bytes."""
    data = bytearray(rng.randbytes(count * SIZES[dtype]))
    if dtype in HIGH:
        at, allowed = HIGH[dtype]
        table = bytes(allowed[b % len(allowed)] for b in range(256))
        data[at :: SIZES[dtype]] = data[at :: SIZES[dtype]].translate(table)
    if dtype == "F8_E4M3":
        data = bytearray(data.translate(NO_NAN))
    if dtype == "F8_E8M0":
        data = bytearray(data.translate(bytes(120 + b % 8 for b in range(256))))
    return bytes(data)


def write(folder: Path, config: dict[str, object], tensors: Iterable[HeaderTensor], seed: int = 0) -> None:
    """config.json and model.safetensors in `folder`, which is made. A name twice keeps its last tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    rng = random.Random(seed)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts, offset = [], 0
    for tensor in {t.name: t for t in tensors}.values():
        data = values(tensor.dtype, prod(tensor.shape), rng)
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        parts.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.writelines(parts)
