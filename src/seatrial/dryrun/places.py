"""Which rows of which parameter each checkpoint tensor fills, rank by rank: the account for those who look at modules.

In: the readings of a dry run. Out: `Place`s by tensor. A row is an index of the parameter's first dimension: an output
feature of a linear layer. Rows are given for parameters of two dimensions (a tensor may fill several stretches); of all
others (norms, stacked experts) the place says only that the tensor went there.
"""

from __future__ import annotations

import msgspec

from seatrial.dryrun.raw import MOVE_WIDTH, RawParameter, RawRegion
from seatrial.dryrun.readings import Readings

MOST = 64  # stretches of one tensor in one parameter on one rank


class Place(msgspec.Struct, frozen=True, array_like=True):
    """`rows` rows of `parameter` from `at` on hold those of the tensor from `of` on; on one rank.

    `rows` is 0 where no rows are told; `of` is -1 where the loader made something else of the tensor on the way.
    `across`: the tensor's dimension that became the parameter's rows (1: the loader transposed it).
    """

    rank: int
    parameter: str
    at: int = 0
    of: int = -1
    rows: int = 0
    across: int = 0


def places(readings: Readings) -> dict[str, tuple[Place, ...]]:
    """By tensor name, ranks in their order; tensors that went nowhere are left out."""
    names, shapes, shape = readings.columns.names, readings.columns.shapes, readings.columns.shape
    found: dict[str, dict[Place, None]] = {}
    for rank in readings.full:
        table, number = rank.raw.regions, rank.raw.rank
        sources: dict[tuple[int, int], list[int]] = {}
        rows = rank.raw.move_rows()
        for at in range(0, len(rows), MOVE_WIDTH):
            tensor, _, destination, source, _ = rows[at : at + MOVE_WIDTH]
            if tensor >= 0:
                sources.setdefault((tensor, destination), []).append(source)
        for parameter, writes in rank.writes.items():
            built = rank.fillings[parameter].parameter
            for tensor, destination in dict.fromkeys(writes):
                if tensor < 0:
                    continue
                origins = sources.get((tensor, destination), [])
                origin = table[origins[0]] if len(origins) == 1 and origins[0] >= 0 else None
                place = _place(number, built, table[destination], origin, shapes[shape[tensor]])
                found.setdefault(names[tensor], {})[place] = None
    return {name: _told(tuple(those)) for name, those in found.items()}


def _place(
    rank: int, parameter: RawParameter, into: RawRegion, source: RawRegion | None, shape: tuple[int, ...]
) -> Place:
    plain = Place(rank, parameter.name)
    if len(parameter.shape) != 2 or parameter.strides[0] <= 0 or not into.sizes:
        return plain
    step = parameter.strides[0]
    along = next((i for i, s in enumerate(into.strides) if s == step), None)
    if along is None or parameter.strides[1] == step:
        return plain
    at, rows = (into.offset - parameter.offset) // step, into.sizes[along]
    whole = Place(rank, parameter.name, at=at, rows=rows)
    if source is None or source.sizes != into.sizes or len(shape) != 2 or shape[1] == 1:
        return whole
    if source.strides[along] == shape[1]:
        return Place(rank, parameter.name, at=at, of=source.offset // shape[1], rows=rows)
    if source.strides[along] == 1:
        return Place(rank, parameter.name, at=at, of=source.offset % shape[1], rows=rows, across=1)
    return whole


def _told(those: tuple[Place, ...]) -> tuple[Place, ...]:
    """Without the rows where a tensor is scattered over a parameter: that is a layout, not rows."""
    counts: dict[tuple[int, str], int] = {}
    for place in those:
        key = place.rank, place.parameter
        counts[key] = counts.get(key, 0) + 1
    kept = (p if counts[p.rank, p.parameter] <= MOST else Place(p.rank, p.parameter) for p in those)
    return tuple(dict.fromkeys(kept))
