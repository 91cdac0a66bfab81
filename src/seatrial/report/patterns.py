"""Tensor names folded into patterns, so that 100,000 of them are a few dozen lines and a few kilobytes.

`model.layers.3.mlp.experts.7.w1.weight` is the pattern `model.layers.*.mlp.experts.*.w1.weight` and the numbers 3, 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Only numbers that can be written back as they were: no leading zeros, and what a script's numbers hold exactly.
NUMBER = re.compile(r"(?<![0-9])(?:0|[1-9][0-9]{0,14})(?![0-9])")
# Those that are a whole part of the name; `w2_weight` is no series of anything.
PART = re.compile(r"(?:(?<=\.)|^)(?:0|[1-9][0-9]{0,14})(?=\.|$)")
STAR = "*"


class Folded(NamedTuple):
    """A plain tuple underneath: there may be a million of them."""

    pattern: str
    numbers: tuple[int, ...]


def split(name: str) -> Folded:
    """The pattern and its numbers: those between dots, or any others where there are none.

    A name with a `*` of its own is kept whole, without numbers; it may look like another name's pattern, so that
    only names with equally many numbers belong together.
    """
    if STAR in name:
        return Folded(name, ())
    number = PART if PART.search(name) else NUMBER
    return Folded(number.sub(STAR, name), tuple(int(n) for n in number.findall(name)))


def join(pattern: str, numbers: Sequence[int]) -> str:
    """The inverse of `split`."""
    if not numbers:
        return pattern
    parts = pattern.split(STAR)
    return parts[0] + "".join(f"{n}{part}" for n, part in zip(numbers, parts[1:], strict=True))


def runs(members: Iterable[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Members of one pattern, sorted, neighbours in the last number joined: (3, 0), (3, 1) becomes (3, 0, 1)."""
    found: list[list[int]] = []
    for numbers in sorted(members):
        if not numbers:
            found.append([])
            continue
        *head, last = numbers
        if found and found[-1][:-2] == head and found[-1][-1] + 1 == last:
            found[-1][-1] = last
        else:
            found.append([*head, last, last])
    return tuple(tuple(run) for run in found)
