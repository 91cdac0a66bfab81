"""Ranks that are alike: which are loaded, what that says of the others, and how much of each tensor all ranks read.

With tensor parallelism a rank differs from its neighbour only in where its slice of a checkpoint tensor begins, and
that place is linear in the rank (or in the rank divided by the number of KV-head replicas). So the first and the last
rank of a pipeline stage bound all between: their slices are the two ends of a tiling whose step is the slice itself.
That the ranks between have the same parameters is not inferred: each is built. That their slices lie where the tiling
says is checked with one tensor of every kind. Where a pair of slices is not such a tiling, `exact` is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from seatrial.dryrun.account import RankClass
from seatrial.dryrun.rank import RankReading
from seatrial.dryrun.raw import RawRegion
from seatrial.dryrun.regions import union
from seatrial.dryrun.request import DryRequest


@lru_cache(maxsize=65536)
def tiles(first: RawRegion, last: RawRegion, ranks: int) -> tuple[RawRegion, ...] | None:
    """The regions of `ranks` ranks between the first's and the last's, or None if they form no tiling."""
    if (first.sizes, first.strides) != (last.sizes, last.strides):
        return None
    distance = last.offset - first.offset
    if distance == 0:
        return (first,)
    for size, stride in zip(first.sizes, first.strides, strict=True):
        step = size * stride
        if step > 0 and distance > 0 and distance % step == 0:
            pieces = distance // step + 1
            if pieces <= ranks and ranks % pieces == 0:
                return tuple(RawRegion(first.offset + i * step, first.sizes, first.strides) for i in range(pieces))
    return None


@lru_cache(maxsize=65536)
def _volume(regions: frozenset[RawRegion]) -> int | None:
    return union(regions)


class Spread:
    """Knows all readings. `read(tensor)` is the number of its elements that any rank places."""

    def __init__(self, request: DryRequest, full: Sequence[RankReading], sampled: Sequence[RankReading]) -> None:
        self.request = request
        self.full = full
        self.sampled = sampled
        self.exact = True
        self._problems: list[str] = []
        self._whole: dict[int, int] = {}
        self._sizes = [_product(s) for s in request.tensors.shapes]

    def read(self, tensor: int) -> int:
        regions: set[RawRegion] = set()
        for rank in self.full:
            found = rank.read.get(tensor)
            if found:
                table = rank.raw.regions
                for index in found:
                    if index < 0:
                        return self._sizes[self.request.tensors.shape[tensor]]
                    regions.add(table[index])
        volume = _volume(frozenset(regions))
        if volume is None:
            self.exact = False
            return 0
        if self.sampled and volume < self._sizes[self.request.tensors.shape[tensor]]:
            volume = max(volume, self._between(tensor))
        return volume

    def _between(self, tensor: int) -> int:
        tp = self.request.tp
        regions: set[RawRegion] = set()
        for stage in range(self.request.pp):
            first = self._reading(stage * tp)
            last = self._reading(stage * tp + tp - 1)
            if first is None or last is None:
                continue
            ours = sorted((first.raw.regions[i] for i in first.read.get(tensor, ()) if i >= 0), key=_order)
            theirs = sorted((last.raw.regions[i] for i in last.read.get(tensor, ()) if i >= 0), key=_order)
            regions.update(ours)
            regions.update(theirs)
            if len(ours) == len(theirs):
                for a, b in zip(ours, theirs, strict=True):
                    regions.update(tiles(a, b, tp) or ())
        return _volume(frozenset(regions)) or 0

    def _reading(self, rank: int) -> RankReading | None:
        return next((r for r in self.full if r.raw.rank == rank), None)

    def classes(self) -> tuple[RankClass, ...]:
        if not self.full:
            return ()
        loaded = tuple(r.raw.rank for r in self.full)
        if not self.sampled:
            return (RankClass(ranks=loaded, loaded=loaded, why="every rank asked for was loaded"),)
        tp = self.request.tp
        found = []
        for stage in range(self.request.pp):
            ranks = tuple(range(stage * tp, stage * tp + tp))
            found.append(
                RankClass(
                    ranks=ranks,
                    loaded=tuple(r for r in loaded if r in ranks),
                    why=(
                        "every rank was built; those between have the first's parameters, and one tensor of each kind "
                        "was placed on each of them where the first and the last rank's slices say"
                    ),
                )
            )
        return tuple(found)


def _order(region: RawRegion) -> tuple[int, tuple[int, ...]]:
    return region.offset, region.sizes


def _product(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
