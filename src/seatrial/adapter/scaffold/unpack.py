"""A packed weight as the plain one that it was made from: its name, and the shape before packing.

Three forms are known. AWQ packs along the outputs and stands transposed, (in, out / n); GPTQ packs along the inputs and
stands transposed, (in / n, out); compressed-tensors packs along the inputs, (out, in / n). The first two have the same
name; which it is shows in the scales, whose last side is the outputs. The tiny checkpoint needs names and shapes only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.adapter.scaffold.roles import NamedTensor
from seatrial.core.record import Record

WIDTHS = {"I32": 32, "U32": 32, "I64": 64, "U64": 64, "U8": 8, "I8": 8}
PACKED_LEAF = re.compile(r"(?<=\.)(qweight|weight_packed)$")
DEFAULT_BITS = 4


class Unpacked(Record):
    """A tensor as it would be if it were not packed."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def plain_name(name: str) -> str:
    """The name without the packing; the same name for what is not packed."""
    return PACKED_LEAF.sub("weight", name)


def packed_bits(config: Mapping[str, Any]) -> int:
    """Bits of a weight as config.json says them; four where it says nothing."""
    for section in _sections(config):
        for key in ("bits", "w_bit", "num_bits"):
            bits = section.get(key)
            if isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= 16:
                return bits
    return DEFAULT_BITS


def _sections(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The quantisation's sections: its own, and the weights' of each of its groups."""
    text = config.get("text_config")
    for holder in (config, text if isinstance(text, dict) else {}):
        for name in ("quantization_config", "compression_config"):
            section = holder.get(name)
            if not isinstance(section, dict):
                continue
            yield section
            groups = section.get("config_groups")
            for group in groups.values() if isinstance(groups, dict) else ():
                weights = group.get("weights") if isinstance(group, dict) else None
                if isinstance(weights, dict):
                    yield weights


def unpacked(tensor: NamedTensor, scales: tuple[int, ...], bits: int) -> Unpacked | None:
    """`scales`: the shape of the scales beside it, if any. None where the form is none of the three."""
    width = WIDTHS.get(tensor.dtype, 0)
    if len(tensor.shape) != 2 or not width or width % bits:
        return None
    rows, columns = tensor.shape
    n = width // bits
    if tensor.name.endswith(".weight_packed"):
        shape = (rows, columns * n)
    elif scales and scales[-1] == columns * n:
        shape = (columns * n, rows)
    elif scales and scales[-1] == columns:
        shape = (columns, rows * n)
    else:
        return None
    return Unpacked(name=plain_name(tensor.name), dtype="BF16", shape=shape)
