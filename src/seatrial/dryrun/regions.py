"""How many distinct elements a set of strided regions covers. Exact, or None where the shapes are too odd to count.

A region is what a torch view is: an offset, sizes and strides, in elements of one storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from seatrial.dryrun.raw import RawRegion

# Above this many runs the exact count would cost seconds; no layout of a real loader comes near it.
MOST_RUNS = 300_000


def numel(region: RawRegion) -> int:
    return prod(region.sizes)


def normal(region: RawRegion) -> RawRegion | None:
    """Dimensions of size 1 and expanded ones dropped, the rest in falling stride, neighbours merged; None if empty."""
    if 0 in region.sizes:
        return None
    pairs = sorted(
        ((stride, size) for size, stride in zip(region.sizes, region.strides, strict=True) if size > 1 and stride > 0),
        reverse=True,
    )
    merged: list[tuple[int, int]] = []
    for stride, size in pairs:
        if merged and merged[-1][0] == stride * size:
            merged[-1] = (stride, merged[-1][1] * size)
        else:
            merged.append((stride, size))
    return RawRegion(region.offset, tuple(s for _, s in merged), tuple(t for t, _ in merged))


def union(regions: Iterable[RawRegion]) -> int | None:
    """Distinct elements in all regions together."""
    shapes = {r for r in map(normal, regions) if r is not None}
    if not shapes:
        return 0
    outers = {outer_of(r) for r in shapes}
    if len(outers) == 1:
        sizes, strides = next(iter(outers))
        if not sizes:
            return length((r.offset, r.offset + run(r)) for r in shapes)
        step = strides[-1]
        row = {r.offset // step for r in shapes}
        inside = all(r.offset % step + run(r) <= step for r in shapes)
        if len(row) == 1 and inside and nested(sizes, strides):
            return prod(sizes) * length((r.offset % step, r.offset % step + run(r)) for r in shapes)
    if sum(prod(outer_of(r)[0]) for r in shapes) > MOST_RUNS:
        return None
    return length(piece for r in shapes for piece in runs(r))


def run(region: RawRegion) -> int:
    """Length of the contiguous run at the innermost dimension."""
    return region.sizes[-1] if region.strides and region.strides[-1] == 1 else 1


def outer_of(region: RawRegion) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and strides without the contiguous innermost dimension."""
    if region.strides and region.strides[-1] == 1:
        return region.sizes[:-1], region.strides[:-1]
    return region.sizes, region.strides


def nested(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether no two index tuples of these dimensions meet (each stride spans all below it)."""
    return all(strides[i] >= strides[i + 1] * sizes[i + 1] for i in range(len(sizes) - 1))


def runs(region: RawRegion) -> list[tuple[int, int]]:
    """The contiguous stretches (start, end) of a region."""
    sizes, strides = outer_of(region)
    starts = [region.offset]
    for size, stride in zip(sizes, strides, strict=True):
        starts = [start + i * stride for start in starts for i in range(size)]
    width = run(region)
    return [(start, start + width) for start in starts]


def length(pieces: Iterable[tuple[int, int]]) -> int:
    """Total length of a union of intervals."""
    total = 0
    reached = -1
    for start, end in sorted(pieces):
        if end > reached:
            total += end - max(start, reached)
            reached = end
    return total
