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
from math import prod
from typing import NamedTuple

from seatrial.dryrun.account import RankClass
from seatrial.dryrun.rank import RankReading
from seatrial.dryrun.raw import RawRegion
from seatrial.dryrun.regions import union
from seatrial.dryrun.request import DryRequest

TENSOR = -1


class Piece(NamedTuple):
    """A region of the tensor itself (pool TENSOR) or of the images of it that are made in one way."""

    pool: int
    region: RawRegion


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
    """Knows all readings. `read(tensor)` is the number of its elements that any rank places.

    `unlike` are sampled ranks that do not fit between the first and the last of their stage: they must be loaded.
    `complete` is false when some ranks were neither loaded nor sampled.
    """

    def __init__(self, request: DryRequest, full: Sequence[RankReading], sampled: Sequence[RankReading]) -> None:
        self.request = request
        self.full = full
        self.sampled = sampled
        self.exact = True
        self.complete = len(request.ranks) + len(request.sample_ranks) == request.tp * request.pp
        self._sizes = [prod(s) for s in request.tensors.shapes]
        self._by_rank = {r.raw.rank: r for r in full}
        self.unlike = tuple(r.raw.rank for r in sampled if not self._fits(r))

    def read(self, tensor: int) -> int:
        """Elements of the tensor that some rank placed in a parameter."""
        size = self._sizes[self.request.tensors.shape[tensor]]
        if self.sampled:
            pieces = self._between(tensor)
        else:
            pieces = set[Piece | None]()
            for rank in self.full:
                pieces.update(self._regions(rank, tensor))
        if None in pieces:
            return size
        pools: dict[int, set[RawRegion]] = {}
        for piece in pieces:
            if piece is not None:
                pools.setdefault(piece.pool, set()).add(piece.region)
        volumes = [_volume(frozenset(regions)) for regions in pools.values()]
        if None in volumes:
            self.exact = False
            return 0
        return sum(v for v in volumes if v is not None)

    @staticmethod
    def _regions(rank: RankReading, tensor: int) -> list[Piece | None]:
        """The pieces of the tensor that this rank took, in order; None stands for all of it (it was transformed)."""
        found = rank.read.get(tensor, ())
        pieces = [Piece(TENSOR, rank.raw.regions[i]) if i >= 0 else None for i in found]
        if tensor in rank.images:
            pieces += [Piece(*image) for image in rank.images[tensor]]
        return sorted(pieces, key=_order) if len(pieces) > 1 else pieces

    def _between(self, tensor: int) -> set[Piece | None]:
        tp = self.request.tp
        pieces: set[Piece | None] = set()
        for stage in range(self.request.pp):
            first, last = self._by_rank.get(stage * tp), self._by_rank.get(stage * tp + tp - 1)
            if first is None or last is None:
                continue
            ours, theirs = self._regions(first, tensor), self._regions(last, tensor)
            pieces.update(ours)
            pieces.update(theirs)
            if len(ours) == len(theirs):
                for a, b in zip(ours, theirs, strict=True):
                    if a is not None and b is not None and a.pool == b.pool:
                        pieces.update(Piece(a.pool, region) for region in tiles(a.region, b.region, tp) or ())
        return pieces

    def _fits(self, rank: RankReading) -> bool:
        """Whether a sampled rank has the parameters of its stage's first rank and its samples lie where tiles say."""
        tp = self.request.tp
        stage, number = divmod(rank.raw.rank, tp)
        first, last = self._by_rank.get(stage * tp), self._by_rank.get(stage * tp + tp - 1)
        if first is None or last is None or rank.raw.errors:
            return False
        if _parameters(rank) != _parameters(first) or _parameters(first) != _parameters(last):
            return False
        if set(rank.into) - set(first.into):
            return False
        for tensor in rank.raw.fed if isinstance(rank.raw.fed, list) else ():
            if rank.into.get(tensor) != first.into.get(tensor):
                return False
            regions = (self._regions(r, tensor) for r in (rank, first, last))
            mine, ours, theirs = regions
            if not len(mine) == len(ours) == len(theirs):
                return False
            for here, a, b in zip(mine, ours, theirs, strict=True):
                if here is None or a is None or b is None:
                    if not here is a is b is None:
                        return False
                    continue
                row = tiles(a.region, b.region, tp)
                if row is None or Piece(a.pool, row[number * len(row) // tp]) != here or a.pool != b.pool:
                    return False
        return True

    def classes(self) -> tuple[RankClass, ...]:
        """The loaded ranks and those they stand for."""
        if not self.full:
            return ()
        loaded = tuple(r.raw.rank for r in self.full)
        if not self.sampled:
            return (RankClass(ranks=loaded, loaded=loaded, why="every rank asked for was loaded"),)
        tp = self.request.tp
        return tuple(
            RankClass(
                ranks=tuple(range(stage * tp, stage * tp + tp)),
                loaded=tuple(r for r in loaded if stage * tp <= r < stage * tp + tp),
                why=(
                    "every rank was built; those between have the parameters of the first, and one tensor of each kind "
                    "was placed on each of them just where the slices of the first and the last rank say"
                ),
            )
            for stage in range(self.request.pp)
        )


def _order(piece: Piece | None) -> tuple[int, int, tuple[int, ...]]:
    return (-1, 0, ()) if piece is None else (piece.pool, piece.region.offset, piece.region.sizes)


def _parameters(rank: RankReading) -> list[tuple[str, list[int], str]]:
    return [(p.name, p.shape, p.dtype) for p in rank.raw.parameters]
