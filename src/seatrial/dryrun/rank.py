"""One rank's moves turned into: who filled each parameter, how much of it, and which part of each tensor was read."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from seatrial.dryrun.raw import IMAGE, MOVE_WIDTH, RawParameter, RawRank, RawRegion
from seatrial.dryrun.regions import numel, union

_union = lru_cache(maxsize=65536)(union)


class Filling:
    """What reached one parameter on one rank. Elements are counted once; `exact` is false if they were estimated."""

    __slots__ = ("by_engine", "elements", "exact", "overlapping", "parameter", "placed", "tensors", "tied_to")

    def __init__(self, parameter: RawParameter) -> None:
        self.parameter = parameter
        self.elements = numel(RawRegion(0, tuple(parameter.shape), ()))
        self.tensors: tuple[int, ...] = ()
        self.placed = 0
        self.by_engine = 0
        self.overlapping: tuple[int, ...] = ()
        self.exact = True
        self.tied_to = ""

    @property
    def full(self) -> bool:
        return self.placed + self.by_engine >= self.elements


class RankReading:
    """`fillings` by parameter name; `read` by tensor: the source regions that this rank placed in a parameter.

    `images` by tensor: pool and region of what went on of its images, where that is not all of the tensor.
    """

    def __init__(self, raw: RawRank) -> None:
        self.raw = raw
        self.fillings: dict[str, Filling] = {}
        self.read: dict[int, set[int]] = defaultdict(set)
        self.into: dict[int, set[str]] = defaultdict(set)
        self.writes: dict[str, list[tuple[int, int]]] = {}
        self.images: dict[int, set[tuple[int, RawRegion]]] = defaultdict(set)
        for image in raw.images:
            self.images[image.tensor].update((image.pool, raw.regions[r]) for r in image.regions)
        self._collect()

    def shares(self, name: str) -> dict[int, int]:
        """Elements of the parameter that each tensor filled."""
        regions: dict[int, set[int]] = defaultdict(set)
        for tensor, region in self.writes.get(name, ()):
            if tensor >= 0:
                regions[tensor].add(region)
        return {tensor: self._count(frozenset(found))[0] for tensor, found in regions.items()}

    def _collect(self) -> None:
        raw = self.raw
        homes: dict[int, list[Filling]] = defaultdict(list)
        first: dict[tuple[int, int, tuple[int, ...]], str] = {}
        for parameter in raw.parameters:
            filling = Filling(parameter)
            self.fillings[parameter.name] = filling
            identity = (parameter.storage_id, parameter.offset, tuple(parameter.shape))
            tied_to = first.setdefault(identity, parameter.name)
            if tied_to != parameter.name:
                filling.tied_to = tied_to
                continue
            for storage in parameter.storages:
                homes[storage].append(filling)
        writes = self.writes = defaultdict(list)
        of_images = {i for i, name in enumerate(raw.operations) if name.endswith(IMAGE)}
        rows = raw.move_rows()
        for at in range(0, len(rows), MOVE_WIDTH):
            tensor, storage, destination, source, operation = rows[at : at + MOVE_WIDTH]
            for filling in homes.get(storage, ()):
                writes[filling.parameter.name].append((tensor, destination))
                if tensor >= 0:
                    self.into[tensor].add(filling.parameter.name)
                    if operation not in of_images or tensor not in self.images:
                        self.read[tensor].add(source)
        for name, found in writes.items():
            self._fill(self.fillings[name], found, shared=self._shared(name, homes))

    def _shared(self, name: str, homes: dict[int, list[Filling]]) -> bool:
        return any(len(homes[s]) > 1 for s in self.fillings[name].parameter.storages)

    def _fill(self, filling: Filling, writes: list[tuple[int, int]], *, shared: bool) -> None:
        table = self.raw.regions
        if shared:
            low = filling.parameter.offset
            high = low + filling.elements
            writes = [w for w in writes if low <= table[w[1]].offset < max(high, low + 1)]
        by_tensor: dict[int, set[int]] = defaultdict(set)
        for tensor, region in writes:
            by_tensor[tensor].add(region)
        filling.tensors = tuple(sorted(t for t in by_tensor if t >= 0))
        mine = frozenset(r for t, regions in by_tensor.items() if t >= 0 for r in regions)
        everyone = mine | frozenset(by_tensor.get(-1, ()))
        filling.placed, exact_mine = self._count(mine)
        total, exact_all = self._count(everyone)
        filling.exact = exact_mine and exact_all
        filling.placed = min(filling.placed, filling.elements)
        filling.by_engine = max(0, min(total, filling.elements) - filling.placed)
        if len(filling.tensors) > 1 and exact_mine:
            separate = sum(self._count(frozenset(by_tensor[t]))[0] for t in filling.tensors)
            if separate > filling.placed:
                filling.overlapping = self._culprits(by_tensor, filling.tensors)

    def _culprits(self, by_tensor: dict[int, set[int]], tensors: tuple[int, ...]) -> tuple[int, ...]:
        """Those tensors that share a region with another; all, if the shared parts are not whole regions."""
        owners: dict[RawRegion, set[int]] = defaultdict(set)
        for tensor in tensors:
            for region in by_tensor[tensor]:
                owners[self.raw.regions[region]].add(tensor)
        shared = sorted({t for held in owners.values() if len(held) > 1 for t in held})
        return tuple(shared) or tensors

    def _count(self, regions: frozenset[int]) -> tuple[int, bool]:
        found = _union(frozenset(self.raw.regions[r] for r in regions))
        if found is None:
            return sum(numel(self.raw.regions[r]) for r in regions), False
        return found, True
