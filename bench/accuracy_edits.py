"""Edits of a tiny checkpoint for accuracy_faults.py: shards read and written with numpy, tensors and config changed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]


def read_shard(file: Path) -> tuple[Tensors, dict[str, str]]:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kinds = {"BF16": "<u2", "F32": "<f4"}
    tensors, dtypes = {}, {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + length + begin : 8 + length + end], dtype=kinds[entry["dtype"]])
        if entry["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name], dtypes[name] = raw.reshape(entry["shape"]).astype(np.float32), entry["dtype"]
    return tensors, dtypes


def write_shard(file: Path, tensors: Tensors, dtypes: dict[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    chunks, offset = [], 0
    for name, tensor in tensors.items():
        bits = np.ascontiguousarray(tensor, dtype=np.float32).view(np.uint32)
        if dtypes[name] == "BF16":
            raw = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
        else:
            raw = bits.astype("<u4").tobytes()
        header[name] = {
            "dtype": dtypes[name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        chunks.append(raw)
        offset += len(raw)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    file.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(chunks))


def find(tensors: Tensors, tail: str) -> str:
    names = [n for n in tensors if n.endswith(tail) and "vision" not in n]
    if not names:
        raise KeyError(f"no tensor ends with {tail}")
    return names[0]


def swap(one: str, two: str) -> Callable[[Tensors], None]:
    def edit(t: Tensors) -> None:
        a, b = find(t, one), find(t, two)
        t[a], t[b] = t[b], t[a]

    return edit


def change(tail: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], None]:
    def edit(t: Tensors) -> None:
        name = find(t, tail)
        t[name] = how(t[name].copy())

    return edit


def tower(tail: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], None]:
    """As `change`, in the vision tower (`find` passes it by)."""

    def edit(t: Tensors) -> None:
        name = next(n for n in t if "vision" in n and n.endswith(tail))
        t[name] = how(t[name].copy())

    return edit


def blocks(width: int, order: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Row blocks of `width` in another order (heads of a projection)."""
    return lambda a: a.reshape(-1, width, *a.shape[1:])[order].reshape(a.shape)


def set_config(**values: Any) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        inner = config.get("text_config", config)
        for key, value in values.items():
            if key == "rope":
                inner["rope_parameters"] = {**inner.get("rope_parameters", {}), **value}
            else:
                inner[key] = value

    return edit
