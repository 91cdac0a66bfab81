"""What the dry run knows of a checkpoint tensor: its name, dtype and shape, as the safetensors header says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod

from seatrial.core.record import Record

# Bits per element; the names are those of the safetensors format.
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}
NUMBER = re.compile(r"(?<![^.\[])\d+(?![^.\]])")  # a whole component of a dotted name


class HeaderTensor(Record):
    """A tensor as a shard's header declares it. `file` is the shard's name, for messages only."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str = ""


def elements(shape: Iterable[int]) -> int:
    return prod(shape)


def size_bytes(dtype: str, count: int) -> int:
    """Bytes of `count` elements; an unknown dtype counts as one byte per element (and is a finding of its own)."""
    return (count * BITS.get(dtype, 8) + 7) // 8


def kind_of(name: str) -> str:
    """The name with every all-number component replaced by `*`: a kind is the same but for layer, expert and so on."""
    return NUMBER.sub("*", name)


def family_of(name: str) -> str:
    """The name with its last all-number component as `*`: an expert's is that of its layer's other experts."""
    numbers = list(NUMBER.finditer(name))
    if not numbers:
        return name
    last = numbers[-1]
    return f"{name[: last.start()]}*{name[last.end() :]}"
