"""What else the account tells: overlaps, casts, the KV cache as the engine sees it, the engine's exceptions."""

from __future__ import annotations

from collections import Counter, defaultdict

from seatrial.dryrun.account import CacheLine, Cast, Failure, Overlap
from seatrial.dryrun.dtypes import FLOATS, TORCH_DTYPES
from seatrial.dryrun.raw import RawDry, RawStubs
from seatrial.dryrun.readings import Readings
from seatrial.dryrun.tensor import kind_of


def overlaps(readings: Readings) -> tuple[Overlap, ...]:
    found: dict[str, tuple[int, ...]] = {}
    filled: dict[str, set[str]] = defaultdict(set)
    for rank in readings.full:
        for name, filling in rank.fillings.items():
            if filling.tensors:
                filled[kind_of(name)].add(name)
            if filling.overlapping:
                found.setdefault(name, filling.overlapping)
    names, kind = readings.columns.names, readings.columns.kind
    alike: dict[str, list[frozenset[int]]] = defaultdict(list)
    for name, tensors in found.items():
        kinds = frozenset(kind[t] for t in tensors)
        alike[kind_of(name)].append(kinds if len(kinds) == len(tensors) else frozenset())
    meant = {k for k, sets in alike.items() if len(sets) == len(filled[k]) > 1 and len(set(sets)) == 1 and sets[0]}
    # MTP layers lie beside the target's own tensors, and share embedding and head with it: both are handed over.
    beside = bool(readings.request.target) and readings.request.target == readings.request.folder
    return tuple(
        Overlap(parameter=name, tensors=tuple(names[t] for t in tensors), by_design=beside or kind_of(name) in meant)
        for name, tensors in found.items()
    )


def casts(readings: Readings) -> tuple[Cast, ...]:
    columns = readings.columns
    dtype_of: dict[str, str] = {}
    for rank in readings.full:
        for name, filling in rank.fillings.items():
            dtype_of[name] = filling.parameter.dtype
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    totals: dict[tuple[str, str], int] = defaultdict(int)
    kind_cache: dict[str, str] = {}
    for index, into in readings.into.items():
        mine = TORCH_DTYPES.get(columns.dtypes[columns.dtype[index]], "")
        kind = columns.kinds[columns.kind[index]]
        for name in into:
            target = kind_cache.get(name) or kind_cache.setdefault(name, kind_of(name))
            totals[(kind, target)] += 1
            if dtype_of[name] != mine:
                groups[(kind, mine, dtype_of[name], target)].append(columns.names[index])
    casting = {(kind, target) for kind, _, _, target in groups}
    # By dtype of ordinary float parameters: the kinds that are cast into it, and those that need no cast.
    cast = Counter(theirs for _, mine, theirs, _ in groups if mine in FLOATS)
    uncast = Counter(
        dtype
        for kind, target, dtype in {
            (columns.kind[i], kind_cache[n], dtype_of[n]) for i, into in readings.into.items() for n in into
        }
        if dtype in FLOATS and (columns.kinds[kind], target) not in casting
    )

    config = readings.raw.config
    own = config.dtype if config is not None else uncast.most_common(1)[0][0] if uncast else ""

    def alone(kind: str, mine: str, theirs: str, target: str) -> bool:
        """Only where casts are rare is one of them odd: a checkpoint in mixed dtypes has them by the dozen."""
        floats = mine in FLOATS and theirs in FLOATS
        return floats and theirs == own and totals[(kind, target)] == 1 and 4 * cast[theirs] <= uncast[theirs]

    return tuple(
        Cast(
            kind=kind,
            tensor_dtype=mine,
            parameter_dtype=theirs,
            parameter_kind=target,
            count=len(members),
            names=tuple(sorted(members)[:64]),
            of=totals[(kind, target)],
            alone=alone(kind, mine, theirs, target),
        )
        for (kind, mine, theirs, target), members in groups.items()
    )


def cache(readings: Readings) -> tuple[CacheLine, ...]:
    counts: Counter[tuple[str, str, str, str, int, int, str]] = Counter()
    for raw in readings.raw.ranks:
        if raw.rank % readings.request.tp == 0:
            for row in raw.layers:
                counts[
                    (kind_of(row.name), row.layer, row.backend, row.spec, row.block_size, row.page_bytes, row.error)
                ] += 1
    return tuple(
        CacheLine(
            kind=kind,
            layer=layer,
            backend=backend,
            spec=spec,
            block_size=block,
            page_bytes=page,
            error=error,
            count=n,
        )
        for (kind, layer, backend, spec, block, page, error), n in counts.items()
    )


def failures(readings: Readings) -> tuple[Failure, ...]:
    columns = readings.columns
    merged: dict[tuple[str, int, str, str], list[int]] = defaultdict(list)
    firsts = {}
    if readings.raw.config_error is not None:
        error = readings.raw.config_error
        firsts[("configure", -1, error.type, error.message)] = error
        merged[("configure", -1, error.type, error.message)] = []
    for raw in readings.raw.ranks:
        for error in raw.errors:
            key = (error.stage.removesuffix("-rest"), error.tensor, error.type, error.message)
            firsts.setdefault(key, error)
            merged[key].append(raw.rank)
    found = []
    for key, ranks in merged.items():
        error = firsts[key]
        known = error.tensor >= 0
        found.append(
            Failure(
                ranks=tuple(sorted(set(ranks))),
                tensor=columns.names[error.tensor] if known else "",
                tensor_shape=columns.shapes[columns.shape[error.tensor]] if known else (),
                raw=error,
            )
        )
    return tuple(found)


def merged_stubs(raw: RawDry) -> RawStubs | None:
    """What the stubs did in the parent and on all ranks together; None where none were used."""
    told = [raw.stubs] if raw.stubs else []
    told += [rank.stubs for rank in raw.ranks if rank.stubs]
    if not told:
        return None
    calls: Counter[str] = Counter()
    for one in told:
        calls.update(one.calls)
    return RawStubs(
        stubbed=sorted({name for one in told for name in one.stubbed}),
        lacks=list(dict.fromkeys(name for one in told for name in one.lacks)),
        calls=dict(calls),
        notes=list(dict.fromkeys(note for one in told for note in one.notes)),
        plugin_version=told[0].plugin_version,
        proven=told[0].proven,
    )
