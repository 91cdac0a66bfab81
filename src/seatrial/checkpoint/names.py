"""Tensor names as patterns: numbers become `*`, so that 92,000 names are a few hundred lines of the same shape.

In: tensors. Out: `Group`s, one per pattern, dtype and shape counts included. Everything that looks at names works on
groups, which is what keeps the largest checkpoints under half a second.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

import msgspec

from seatrial.checkpoint.dtypes import BITS
from seatrial.checkpoint.weights import Tensor

NUMBER = re.compile(r"\.(\d+)(?=\.|$)")
TOWER = re.compile(r"vision|visual|audio|vit|sam_model|speech|sound")
# No model has more MTP layers than this.
MOST_LATE = 16


class Group(msgspec.Struct, kw_only=True):
    """Tensors whose names differ only in their numbers. `indices` holds those numbers, as written, one tuple each."""

    pattern: str
    count: int = 0
    elements: int = 0
    nbytes: int = 0
    kinds: dict[tuple[str, tuple[int, ...]], int] = msgspec.field(default_factory=dict)
    indices: list[tuple[str, ...]] = msgspec.field(default_factory=list)

    def dtypes(self) -> dict[str, int]:
        """Tensors by dtype."""
        total: Counter[str] = Counter()
        for (dtype, _), count in self.kinds.items():
            total[dtype] += count
        return dict(total)

    def example(self) -> str:
        return fill(self.pattern, self.indices[0])

    def shape(self) -> tuple[int, ...]:
        """The commonest shape (empty where only names are known)."""
        return max(self.kinds, key=lambda k: self.kinds[k])[1] if self.kinds else ()


def fill(pattern: str, numbers: Sequence[str]) -> str:
    """The name again."""
    parts = pattern.split("*")
    return "".join(a + b for a, b in zip(parts, [*numbers, ""], strict=False)) if len(parts) > 1 else pattern


def late_layers(layers: int | None) -> frozenset[str]:
    """Layer numbers at and beyond the model's own: where DeepSeek, GLM and others put their MTP layers."""
    return frozenset(str(i) for i in range(layers, layers + MOST_LATE)) if layers else frozenset()


def split(name: str, late: frozenset[str]) -> list[str]:
    """Texts and numbers in turn. A late layer's number stays part of the text, so it makes a pattern of its own."""
    parts = NUMBER.split(name)
    if len(parts) > 1 and parts[1] in late and parts[0].endswith("layers") and not TOWER.search(parts[0]):
        parts[0:3] = [f"{parts[0]}.{parts[1]}{parts[2]}"]
    return parts


def group(tensors: Iterable[Tensor], late: frozenset[str] = frozenset()) -> list[Group]:
    """Groups in order of first appearance."""
    rows: dict[str, dict[tuple[str, tuple[int, ...]], int]] = {}
    indices: dict[str, list[tuple[str, ...]]] = {}
    for tensor in tensors:
        parts = split(tensor.name, late)
        pattern = ".*".join(parts[::2])
        kinds = rows.get(pattern)
        if kinds is None:
            kinds = rows[pattern] = {}
            indices[pattern] = []
        indices[pattern].append(tuple(parts[1::2]))
        key = (tensor.dtype, tensor.shape)
        kinds[key] = kinds.get(key, 0) + 1
    return [_group(pattern, kinds, indices[pattern]) for pattern, kinds in rows.items()]


def group_names(names: Iterable[str], late: frozenset[str] = frozenset()) -> list[Group]:
    """Groups of bare names: no dtypes, no shapes."""
    indices: dict[str, list[tuple[str, ...]]] = {}
    for name in names:
        parts = split(name, late)
        indices.setdefault(".*".join(parts[::2]), []).append(tuple(parts[1::2]))
    return [Group(pattern=p, count=len(rows), indices=rows) for p, rows in indices.items()]


def _group(pattern: str, kinds: dict[tuple[str, tuple[int, ...]], int], indices: list[tuple[str, ...]]) -> Group:
    elements = nbytes = 0
    for (dtype, shape), count in kinds.items():
        size = prod(shape)
        elements += size * count
        nbytes += size * BITS.get(dtype, 0) // 8 * count
    return Group(pattern=pattern, count=len(indices), elements=elements, nbytes=nbytes, kinds=kinds, indices=indices)
