"""From the probe's raw answer to the account: every tensor and every parameter gets its state.

In: the request's columns, the raw ranks. Out: `DryAccount`. Says of what it cannot count exactly that it cannot.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import msgspec

from seatrial.dryrun.account import (
    CacheLine,
    Cast,
    DryAccount,
    Failure,
    Overlap,
    ParameterLine,
    ParameterState,
    ParameterTrouble,
    RankClass,
    Sums,
    TensorLine,
    TensorState,
    TensorTrouble,
    Timing,
)
from seatrial.dryrun.names import PeerNames, shard_of
from seatrial.dryrun.rank import Filling, RankReading
from seatrial.dryrun.raw import RawDrop, RawDry, RawRegion
from seatrial.dryrun.request import DryRequest
from seatrial.dryrun.spread import Spread
from seatrial.dryrun.tensor import BITS, elements, kind_of, size_bytes

SCHEMA_VERSION = 1
TORCH_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "C64": "complex64",
}


FLOATS = {"float16", "bfloat16", "float32", "float64"}


class Fate(msgspec.Struct):
    """What became of one tensor over all ranks."""

    state: TensorState
    placed: int = 0
    reason: str = ""
    drop: RawDrop | None = None


class AccountBuilder:
    """Built once per dry run; `account()` gives the result."""

    def __init__(self, request: DryRequest, raw: RawDry) -> None:
        self.request = request
        self.raw = raw
        self.columns = request.tensors
        self.full = [RankReading(r) for r in raw.ranks if r.built and r.how == "full"]
        self.sampled = [RankReading(r) for r in raw.ranks if r.built and r.how == "sample"]
        self.spread = Spread(request, self.full, self.sampled)
        self.into: dict[int, set[str]] = defaultdict(set)
        for rank in self.full:
            for tensor, names in rank.into.items():
                self.into[tensor] |= names
        self.shared_by: dict[str, int] = {}
        for rank in self.full:
            for name, filling in rank.fillings.items():
                self.shared_by[name] = max(self.shared_by.get(name, 0), len(filling.tensors))

    def account(self) -> DryAccount:
        began = time.monotonic()
        fates = self._fates()
        lines, sums_of = self._tensor_lines(fates)
        parameters, troubles = self._parameters(fates)
        failures = self._failures()
        raw = self.raw
        names = self.columns.names
        seen: set[str] = set()
        duplicates = tuple(dict.fromkeys(n for n in names if n in seen or seen.add(n)))  # type: ignore[func-returns-value]
        placed, elsewhere, dropped, unexplained = sums_of
        full = [r for r in raw.ranks if r.how == "full"]
        shapes = {tuple((p.name, tuple(p.shape)) for p in r.parameters if p.parameter) for r in raw.ranks if r.built}
        return DryAccount(
            schema_version=SCHEMA_VERSION,
            tp=self.request.tp,
            pp=self.request.pp,
            ep=self.request.ep,
            names_only=False,
            sums=Sums(
                tensors=len(names),
                bytes_in=placed + elsewhere + dropped + unexplained,
                bytes_placed=placed,
                bytes_elsewhere=elsewhere,
                bytes_dropped=dropped,
                bytes_unexplained=unexplained,
                parameters=sum(line.count for line in parameters),
                exact=all(f.exact for r in self.full for f in r.fillings.values()) and self.spread.exact,
            ),
            tensors=lines,
            parameters=parameters,
            parameter_troubles=troubles,
            tensor_troubles=self._tensor_troubles(fates),
            duplicates=duplicates,
            unknown_dtypes=tuple(sorted({d for d in self.columns.dtypes if d not in BITS})),
            overlaps=self._overlaps(),
            casts=self._casts(),
            failures=failures,
            crashed_ranks={r.rank: r.crashed for r in raw.ranks if r.crashed is not None},
            rank_classes=self.spread.classes(),
            rank_shapes=len(shapes),
            all_ranks=self.spread.complete,
            cache=self._cache(),
            ops={k: v for r in raw.ranks[:1] for k, v in r.ops.items()},
            placeholders={k: v for r in raw.ranks for k, v in r.placeholders.items()},
            notes=tuple(dict.fromkeys(n for r in raw.ranks for n in r.notes)),
            engine=raw.engine,
            platform=raw.platform,
            config=raw.config,
            timing=Timing(
                import_s=raw.import_s,
                configure_s=raw.config_s,
                build_s=sum(r.build_s for r in raw.ranks),
                load_s=sum(r.load_s for r in full),
                drops_s=sum(r.drops_s for r in full),
                probe_s=raw.total_s,
                account_s=time.monotonic() - began,
                peak_kib=max((r.peak_kib for r in raw.ranks), default=0),
            ),
        )

    # ---- tensors

    def _fates(self) -> list[Fate]:
        faulty: dict[int, str] = {}
        drops: dict[int, RawDrop] = {}
        not_reached: set[int] = set()
        unfit: set[int] = set()
        for rank in self.full:
            for failure in rank.raw.errors:
                if failure.tensor >= 0:
                    faulty.setdefault(failure.tensor, f"{failure.type.rpartition('.')[2]}: {failure.message}")
            for tensor, culprit in rank.raw.alike:
                faulty.setdefault(tensor, f"not tried: several of its kind failed like {self.columns.names[culprit]}")
            for drop in rank.raw.drops:
                if drop.kind not in drops or drops[drop.kind].rule is None:
                    drops[drop.kind] = drop
            not_reached.update(rank.raw.not_reached)
            unfit.update(rank.raw.unfit)
        columns = self.columns
        sizes = [elements(s) for s in columns.shapes]
        fates = []
        for index in range(len(columns.names)):
            size = sizes[columns.shape[index]]
            into = self.into.get(index)
            if index in unfit:
                fate = Fate("failed", reason=f"no torch dtype for {columns.dtypes[columns.dtype[index]]}")
            elif into:
                placed = min(self.spread.read(index), size)
                fused = any(self.shared_by[name] > 1 for name in into)
                state: TensorState = "fused" if fused else "loaded"
                if index in faulty:
                    fate = Fate("failed", placed=placed, reason=faulty[index])
                elif placed < size and self.spread.complete:
                    fate = Fate("partly read", placed=placed, reason=f"{placed} of {size} elements were read")
                else:
                    fate = Fate(state, placed=placed)
            elif index in faulty:
                fate = Fate("failed", reason=faulty[index])
            elif index in not_reached:
                fate = Fate("not reached", reason="the load was given up before this tensor")
            else:
                why = drops.get(columns.kind[index])
                if why is not None and why.rule is not None:
                    fate = Fate("dropped", reason=why.detail, drop=why)
                elif not self.full:
                    fate = Fate("not reached", reason="no rank could be built")
                else:
                    fate = Fate("unexplained", reason=why.detail if why else "")
            fates.append(fate)
        return fates

    def _tensor_lines(self, fates: list[Fate]) -> tuple[tuple[TensorLine, ...], tuple[int, int, int, int]]:
        columns = self.columns
        groups: dict[tuple[int, TensorState, tuple[str, ...]], list[int]] = defaultdict(list)
        kinds_into: dict[frozenset[str], tuple[str, ...]] = {}
        for index, fate in enumerate(fates):
            names = frozenset(self.into.get(index, ()))
            into = kinds_into.get(names)
            if into is None:
                into = kinds_into[names] = tuple(sorted({kind_of(n) for n in names}))
            groups[(columns.kind[index], fate.state, into)].append(index)
        sizes = [elements(s) for s in columns.shapes]
        lines = []
        placed = elsewhere = dropped = unexplained = 0
        for (kind, state, into), members in groups.items():
            count = whole = kept = 0
            for i in members:
                dtype = columns.dtypes[columns.dtype[i]]
                size = sizes[columns.shape[i]]
                count += size
                whole += size_bytes(dtype, size)
                kept += size_bytes(dtype, fates[i].placed)
            placed += kept
            if state in ("loaded", "fused"):
                elsewhere += whole - kept
            elif state == "dropped":
                dropped += whole - kept
            else:
                unexplained += whole - kept
            fate = fates[members[0]]
            example = columns.names[members[0]]
            targets = sorted(self.into.get(members[0], ()))
            lines.append(
                TensorLine(
                    kind=columns.kinds[kind],
                    state=state,
                    count=len(members),
                    elements=count,
                    bytes=whole,
                    placed_bytes=kept,
                    dtypes=tuple(sorted({columns.dtypes[columns.dtype[i]] for i in members})),
                    example=example,
                    into=into,
                    shards=tuple(dict.fromkeys(kind_of(shard_of(example, t)) for t in targets))
                    if state == "fused"
                    else (),
                    reason=fate.reason,
                    rule=fate.drop.rule if fate.drop else None,
                )
            )
        return tuple(lines), (placed, elsewhere, dropped, unexplained)

    def _tensor_troubles(self, fates: list[Fate]) -> tuple[TensorTrouble, ...]:
        columns = self.columns
        found = []
        for index, fate in enumerate(fates):
            if fate.state in ("loaded", "fused", "dropped"):
                continue
            shape = columns.shapes[columns.shape[index]]
            found.append(
                TensorTrouble(
                    name=columns.names[index],
                    state=fate.state,
                    dtype=columns.dtypes[columns.dtype[index]],
                    shape=shape,
                    reason=fate.reason,
                    placed_elements=fate.placed,
                    elements=elements(shape),
                )
            )
        return tuple(found)

    # ---- parameters

    def _parameters(self, fates: list[Fate]) -> tuple[tuple[ParameterLine, ...], tuple[ParameterTrouble, ...]]:
        worst: dict[str, tuple[int, ParameterState, Filling, list[int]]] = {}
        rank_of = {"filled": 0, "tied": 0, "initialised by design": 1, "partly filled": 2, "missing": 3}
        for rank in self.full:
            peers = self._filled_kinds(rank)
            for name, filling in rank.fillings.items():
                state = self._state(filling, peers)
                if state is None:
                    continue
                before = worst.get(name)
                level = rank_of[state]
                if before is None or level > before[0]:
                    worst[name] = (level, state, filling, [rank.raw.rank])
                elif level == before[0]:
                    before[3].append(rank.raw.rank)
        troubled = [name for name, (_, state, _, _) in worst.items() if state in ("missing", "partly filled")]
        likely = self._likely(troubled)
        groups: dict[tuple[str, ParameterState, str], list[str]] = defaultdict(list)
        for name, (_, state, filling, _) in worst.items():
            groups[(kind_of(name), state, self._why(state, filling))].append(name)
        lines = []
        for (kind, state, why), members in groups.items():
            fillings = [worst[m][2] for m in members]
            lines.append(
                ParameterLine(
                    kind=kind,
                    state=state,
                    count=len(members),
                    elements=sum(f.elements for f in fillings),
                    dtype=fillings[0].parameter.dtype,
                    shapes=tuple(sorted({tuple(f.parameter.shape) for f in fillings})),
                    example=members[0],
                    filled_by=tuple(
                        dict.fromkeys(self.columns.kinds[self.columns.kind[t]] for t in fillings[0].tensors)
                    ),
                    reason=why,
                )
            )
        troubles = []
        for name in troubled:
            _, state, filling, ranks = worst[name]
            if state not in ("missing", "partly filled"):
                continue
            troubles.append(
                ParameterTrouble(
                    name=name,
                    state=state,
                    ranks=tuple(ranks),
                    shape=tuple(filling.parameter.shape),
                    dtype=filling.parameter.dtype,
                    filled_elements=filling.placed + filling.by_engine,
                    elements=filling.elements,
                    likely=likely.get(name, ()),
                    short=self._short(name, ranks[0]) if state == "partly filled" else (),
                )
            )
        return tuple(lines), tuple(troubles)

    @staticmethod
    def _filled_kinds(rank: RankReading) -> set[str]:
        return {kind_of(name) for name, filling in rank.fillings.items() if filling.tensors}

    @staticmethod
    def _state(filling: Filling, peers: set[str]) -> ParameterState | None:
        """None for what needs no line: buffers that nothing in the checkpoint feeds."""
        parameter = filling.parameter
        if filling.tied_to:
            return "tied" if parameter.parameter else None
        has_peers = kind_of(parameter.name) in peers
        if not parameter.parameter and not filling.tensors:
            return "missing" if has_peers and parameter.persistent else None
        if filling.tensors:
            return "filled" if filling.full else "partly filled"
        if filling.elements == 0:
            return "initialised by design"
        if has_peers:
            return "missing"
        if parameter.design or filling.full:
            return "initialised by design"
        return "missing"

    @staticmethod
    def _why(state: ParameterState, filling: Filling) -> str:
        if state == "tied":
            return f"is {kind_of(filling.tied_to)}"
        if state == "initialised by design":
            return filling.parameter.design or "the loader itself writes it"
        if state == "filled" and filling.by_engine:
            return "the rest is padding that the loader writes"
        return ""

    def _likely(self, troubled: list[str]) -> dict[str, tuple[str, ...]]:
        if not troubled:
            return {}
        kinds = {kind_of(name) for name in troubled}
        names = self.columns.names
        peers = PeerNames()
        bad = set(troubled)
        fed: dict[str, set[str]] = defaultdict(set)
        for rank in self.full:
            for name, filling in rank.fillings.items():
                if not filling.tensors or kind_of(name) not in kinds:
                    continue
                found = [names[t] for t in filling.tensors]
                if name in bad:
                    fed[name].update(found)
                else:
                    peers.learn(name, found)
        return {name: peers.likely(name, fed[name]) or (name,) for name in troubled}

    def _short(self, name: str, number: int) -> tuple[str, ...]:
        """Tensors that fill less of a parameter than others of their kind fill, in it or in its peers."""
        rank = next(r for r in self.full if r.raw.rank == number)
        kind = self.columns.kind
        own = rank.shares(name)
        peers = [
            n for n, f in rank.fillings.items() if n != name and f.full and f.tensors and kind_of(n) == kind_of(name)
        ]
        most: dict[int, int] = {}
        for shares in (own, *(rank.shares(n) for n in peers[:1])):
            for tensor, count in shares.items():
                most[kind[tensor]] = max(most.get(kind[tensor], 0), count)
        return tuple(self.columns.names[t] for t, count in own.items() if count < most[kind[t]])

    # ---- the rest

    def _overlaps(self) -> tuple[Overlap, ...]:
        found: dict[str, tuple[int, ...]] = {}
        filled: dict[str, set[str]] = defaultdict(set)
        for rank in self.full:
            for name, filling in rank.fillings.items():
                if filling.tensors:
                    filled[kind_of(name)].add(name)
                if filling.overlapping:
                    found.setdefault(name, filling.overlapping)
        names, kind = self.columns.names, self.columns.kind
        alike: dict[str, list[frozenset[int]]] = defaultdict(list)
        for name, tensors in found.items():
            kinds = frozenset(kind[t] for t in tensors)
            alike[kind_of(name)].append(kinds if len(kinds) == len(tensors) else frozenset())
        meant = {k for k, sets in alike.items() if len(sets) == len(filled[k]) > 1 and len(set(sets)) == 1 and sets[0]}
        return tuple(
            Overlap(parameter=name, tensors=tuple(names[t] for t in tensors), by_design=kind_of(name) in meant)
            for name, tensors in found.items()
        )

    def _casts(self) -> tuple[Cast, ...]:
        columns = self.columns
        dtype_of: dict[str, str] = {}
        for rank in self.full:
            for name, filling in rank.fillings.items():
                dtype_of[name] = filling.parameter.dtype
        groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
        totals: dict[tuple[str, str], int] = defaultdict(int)
        kind_cache: dict[str, str] = {}
        main = Counter(columns.dtypes[columns.dtype[i]] for i in self.into).most_common(1)
        usual = TORCH_DTYPES.get(main[0][0], "") if main else ""
        for index, into in self.into.items():
            mine = TORCH_DTYPES.get(columns.dtypes[columns.dtype[index]], "")
            kind = columns.kinds[columns.kind[index]]
            for name in into:
                target = kind_cache.get(name) or kind_cache.setdefault(name, kind_of(name))
                totals[(kind, target)] += 1
                if dtype_of[name] != mine:
                    groups[(kind, mine, dtype_of[name], target)].append(columns.names[index])
        return tuple(
            Cast(
                kind=kind,
                tensor_dtype=mine,
                parameter_dtype=theirs,
                parameter_kind=target,
                count=len(members),
                names=tuple(sorted(members)[:64]),
                of=totals[(kind, target)],
                alone=totals[(kind, target)] == 1 and theirs == usual and mine in FLOATS and theirs in FLOATS,
            )
            for (kind, mine, theirs, target), members in groups.items()
        )

    def _cache(self) -> tuple[CacheLine, ...]:
        counts: Counter[tuple[str, str, str, str, int, int, str]] = Counter()
        for raw in self.raw.ranks:
            if raw.rank % self.request.tp == 0:
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

    def _failures(self) -> tuple[Failure, ...]:
        columns = self.columns
        merged: dict[tuple[str, int, str, str], list[int]] = defaultdict(list)
        firsts = {}
        if self.raw.config_error is not None:
            error = self.raw.config_error
            firsts[("configure", -1, error.type, error.message)] = error
            merged[("configure", -1, error.type, error.message)] = []
        for raw in self.raw.ranks:
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


def whole(shape: tuple[int, ...]) -> RawRegion:
    """The region of a whole contiguous tensor."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return RawRegion(0, shape, tuple(reversed(strides)))


__all__ = ["AccountBuilder", "RankClass", "whole"]
