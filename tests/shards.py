"""Make and edit safetensors files by hand, in the standard library, for tests."""

from __future__ import annotations

import json
import struct
from pathlib import Path

SIZES = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "I32": 4, "I8": 1, "U8": 1, "I64": 8, "BOOL": 1}


def write_shard(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    """A well-formed shard of zeros: name to (dtype, shape)."""
    header: dict[str, object] = {}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(offset))


def drop_tensor(path: Path, name: str) -> None:
    """Rewrite the shard without one tensor, the others' bytes kept."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    metadata = header.pop("__metadata__", None)
    del header[name]
    kept, chunks, offset = ({"__metadata__": metadata} if metadata else {}), [], 0
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        chunks.append(body[begin:end])
        kept[key] = {**entry, "data_offsets": [offset, offset + end - begin]}
        offset += end - begin
    head = json.dumps(kept).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(chunks))
