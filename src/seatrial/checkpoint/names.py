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
from seatrial.checkpoint.headers import Entry

NUMBER = re.compile(r"\.(\d+)(?=\.|$)")
# Where the language model's own layers hang; towers have `layers` too, under other names.
LANGUAGE = re.compile(
    r"(?:(?:model|language_model|backbone|transformer|thinker|text_model|decoder|llm|gpt_neox)\.)*"
    r"(?:layers|h|blocks)"
)
# Names that follow no scheme are not worth a line each (real checkpoints have some hundred patterns).
MAX_PATTERNS = 20_000
OTHERS = "(names beyond the first 20000 patterns)"
# `*` stands for a number in patterns, so a name that holds one has no pattern; no model's names do.
ASTERISK = "(names that hold an asterisk)"
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
    if len(parts) > 1 and parts[1] in late and LANGUAGE.fullmatch(parts[0]):
        parts[0:3] = [f"{parts[0]}.{parts[1]}{parts[2]}"]
    return parts


class _Cut(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a name: its pattern and its numbers."""

    pattern: str
    numbers: tuple[str, ...]


class _Cutter:
    """Cuts names, remembering both sides of `.experts.`: of 90,000 expert names only some 1,600 sides differ."""

    def __init__(self, late: frozenset[str]) -> None:
        self.late = late
        self.heads: dict[str, _Cut] = {}
        self.tails: dict[str, _Cut] = {}

    def head(self, text: str) -> _Cut:
        parts = split(text, self.late)
        cut = self.heads[text] = _Cut(".*".join(parts[::2]), tuple(parts[1::2]))
        return cut

    def tail(self, text: str) -> _Cut:
        """`text` begins with the dot after `.experts`."""
        parts = NUMBER.split(text)
        cut = self.tails[text] = _Cut(".*".join(parts[::2]), tuple(parts[1::2]))
        return cut


def group(rows: Iterable[tuple[str, Entry]], late: frozenset[str] = frozenset()) -> list[Group]:
    """Groups in order of first appearance."""
    cutter = _Cutter(late)
    heads, tails = cutter.heads, cutter.tails
    kinds: dict[tuple[str, str], dict[tuple[str, tuple[int, ...]], int]] = {}
    indices: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for name, entry in rows:
        # 8 = len(".experts"): the tail keeps its leading dot, so that its number is found.
        at = name.find(".experts.") + 8
        if at < 8:
            at = len(name)
        text = name[:at]
        head = heads.get(text) or cutter.head(text)
        text = name[at:]
        tail = tails.get(text) or cutter.tail(text)
        pattern = (head.pattern, tail.pattern) if "*" not in name else (ASTERISK, "")
        kind = (entry.dtype, entry.shape)
        counts = kinds.get(pattern)
        if counts is None and len(kinds) >= MAX_PATTERNS:
            pattern = (OTHERS, "")
            counts = kinds.get(pattern)
        if counts is None:
            kinds[pattern] = {kind: 1}
            indices[pattern] = [head.numbers + tail.numbers]
        else:
            counts[kind] = counts.get(kind, 0) + 1
            indices[pattern].append(head.numbers + tail.numbers)
    return [_group(p[0] + p[1], counts, indices[p]) for p, counts in kinds.items()]


def group_names(names: Iterable[str], late: frozenset[str] = frozenset()) -> list[Group]:
    """Groups of bare names: no dtypes, no shapes."""
    indices: dict[str, list[tuple[str, ...]]] = {}
    for name in names:
        parts = split(name, late)
        pattern = ".*".join(parts[::2]) if "*" not in name else ASTERISK
        if pattern not in indices and len(indices) >= MAX_PATTERNS:
            pattern = OTHERS
        indices.setdefault(pattern, []).append(tuple(parts[1::2]))
    return [Group(pattern=p, count=len(rows), indices=rows) for p, rows in indices.items()]


def _group(pattern: str, kinds: dict[tuple[str, tuple[int, ...]], int], indices: list[tuple[str, ...]]) -> Group:
    elements = nbytes = 0
    for (dtype, shape), count in kinds.items():
        size = prod(shape)
        elements += size * count
        nbytes += size * BITS.get(dtype, 0) // 8 * count
    return Group(pattern=pattern, count=len(indices), elements=elements, nbytes=nbytes, kinds=kinds, indices=indices)
