"""From the probe's raw answer to the account: every tensor and every parameter gets its state.

In: the request's columns, the raw ranks. Out: `DryAccount`. Says of what it cannot count exactly that it cannot.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property

import msgspec

from seatrial.dryrun.account import DryAccount, Regrouped, Sums, TensorLine, TensorState, TensorTrouble, Timing
from seatrial.dryrun.extras import cache, casts, failures, merged_stubs, overlaps
from seatrial.dryrun.names import shard_of
from seatrial.dryrun.parameters import parameters
from seatrial.dryrun.raw import RawDrop, RawDry
from seatrial.dryrun.readings import Readings
from seatrial.dryrun.request import DryRequest
from seatrial.dryrun.tensor import BITS, elements, family_of, kind_of, size_bytes
from seatrial.dryrun.weights import rank_weights

SCHEMA_VERSION = 1


class Fate(msgspec.Struct):
    """What became of one tensor over all ranks."""

    state: TensorState
    placed: int = 0
    reason: str = ""
    drop: RawDrop | None = None


class AccountBuilder:
    """Built once per dry run; `account()` gives the result."""

    def __init__(self, request: DryRequest, raw: RawDry) -> None:
        self.readings = Readings(request, raw)
        self.request = request
        self.raw = raw
        self.columns = request.tensors
        self.full = self.readings.full
        self.spread = self.readings.spread
        self.into = self.readings.into
        self.shared_by = self.readings.shared_by

    @cached_property
    def fates(self) -> list[Fate]:
        """One per tensor, in the request's order."""
        return self._fates()

    def account(self) -> DryAccount:
        began = time.monotonic()
        fates = self.fates
        lines, sums_of = self._tensor_lines(fates)
        lines_of_parameters, troubles = parameters(self.readings)
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
                parameters=sum(line.count for line in lines_of_parameters),
                exact=all(f.exact for r in self.full for f in r.fillings.values()) and self.spread.exact,
            ),
            tensors=lines,
            parameters=lines_of_parameters,
            parameter_troubles=troubles,
            tensor_troubles=self._tensor_troubles(fates),
            duplicates=duplicates,
            unknown_dtypes=tuple(sorted({d for d in self.columns.dtypes if d not in BITS})),
            overlaps=overlaps(self.readings),
            casts=casts(self.readings),
            regrouped=self._regrouped(),
            failures=failures(self.readings),
            crashed_ranks={r.rank: r.crashed for r in raw.ranks if r.crashed is not None},
            rank_classes=self.spread.classes(),
            rank_shapes=len(shapes),
            all_ranks=self.spread.complete,
            cache=cache(self.readings),
            weights=rank_weights(raw),
            ops={k: v for r in raw.ranks[:1] for k, v in r.ops.items()},
            placeholders={k: v for r in raw.ranks for k, v in r.placeholders.items()},
            missing_ops={k: v for r in raw.ranks for k, v in r.missing_ops.items()},
            calls={k: v for r in raw.ranks for k, v in r.calls.items()},
            notes=tuple(dict.fromkeys(n for r in raw.ranks for n in r.notes)),
            engine=raw.engine,
            platform=raw.platform,
            config=raw.config,
            stubs=merged_stubs(raw),
            timing=Timing(
                import_s=raw.import_s,
                configure_s=raw.config_s,
                build_s=sum(r.build_s for r in raw.ranks),
                load_s=sum(r.load_s for r in full),
                drops_s=sum(r.drops_s for r in full),
                calls_s=sum(r.calls_s for r in full),
                probe_s=raw.total_s,
                account_s=time.monotonic() - began,
                peak_kib=max((r.peak_kib for r in raw.ranks), default=0),
            ),
        )

    # ---- tensors

    def _regrouped(self) -> tuple[Regrouped, ...]:
        """By kind, each tensor once; the shapes are those of the first."""
        columns = self.columns
        seen = {index: (old, new) for rank in self.full for index, old, new in rank.raw.regrouped}
        groups: dict[int, list[int]] = defaultdict(list)
        for index in sorted(seen):
            groups[columns.kind[index]].append(index)
        return tuple(
            Regrouped(
                kind=columns.kinds[kind],
                names=tuple(columns.names[i] for i in members),
                shape=tuple(seen[members[0]][0]),
                viewed=tuple(seen[members[0]][1]),
            )
            for kind, members in groups.items()
        )

    def _fates(self) -> list[Fate]:
        faulty: dict[int, str] = {}
        reasons = self._reasons()
        not_reached: set[int] = set()
        unfit: set[int] = set()
        for rank in self.full:
            for failure in rank.raw.errors:
                if failure.tensor >= 0:
                    faulty.setdefault(failure.tensor, f"{failure.type.rpartition('.')[2]}: {failure.message}")
            for tensor, culprit in rank.raw.alike:
                faulty.setdefault(tensor, f"not tried: several of its kind failed like {self.columns.names[culprit]}")
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
                why = reasons(index)
                if why is not None and why.rule is not None:
                    fate = Fate("dropped", reason=why.detail, drop=why)
                elif not self.full:
                    fate = Fate("not reached", reason="no rank could be built")
                else:
                    fate = Fate("unexplained", reason=why.detail if why else "")
            fates.append(fate)
        return fates

    def _reasons(self) -> Callable[[int], RawDrop | None]:
        """The engine's rule for a tensor that no rank placed, by its kind and whether siblings of it were placed.

        The rule for a tensor that another rank placed (an expert of that rank) says nothing of one that none did.
        """
        found: dict[tuple[int, bool], RawDrop | None] = {}
        for rank in self.full:
            for drop in rank.raw.drops:
                key = drop.kind, drop.sibling
                if drop.tensor in self.into:
                    found.setdefault(key, None)
                elif (before := found.get(key)) is None or before.rule is None:
                    found[key] = drop
        columns = self.columns
        kinds = {kind for kind, _ in found}
        placed = {family_of(columns.names[i]) for i in self.into if columns.kind[i] in kinds}

        def reason(index: int) -> RawDrop | None:
            kind, sibling = columns.kind[index], family_of(columns.names[index]) in placed
            return found[kind, sibling] if (kind, sibling) in found else found.get((kind, not sibling))

        return reason

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
