"""The state of every parameter: filled, partly filled, tied, initialised by design or missing, and what is expected."""

from __future__ import annotations

from collections import defaultdict

from seatrial.dryrun.account import ParameterLine, ParameterState, ParameterTrouble
from seatrial.dryrun.names import PeerNames, PrefixNames
from seatrial.dryrun.rank import Filling, RankReading
from seatrial.dryrun.readings import Readings
from seatrial.dryrun.tensor import kind_of


def parameters(readings: Readings) -> tuple[tuple[ParameterLine, ...], tuple[ParameterTrouble, ...]]:
    worst: dict[str, tuple[int, ParameterState, Filling, list[int]]] = {}
    rank_of = {"filled": 0, "tied": 0, "initialised by design": 1, "partly filled": 2, "missing": 3}
    for rank in readings.full:
        peers = _filled_kinds(rank)
        for name, filling in rank.fillings.items():
            state = _state(filling, peers)
            if state is None:
                continue
            before = worst.get(name)
            level = rank_of[state]
            if before is None or level > before[0]:
                worst[name] = (level, state, filling, [rank.raw.rank])
            elif level == before[0]:
                before[3].append(rank.raw.rank)
    troubled = [name for name, (_, state, _, _) in worst.items() if state in ("missing", "partly filled")]
    likely = _likely(readings, troubled)
    groups: dict[tuple[str, ParameterState, str], list[str]] = defaultdict(list)
    for name, (_, state, filling, _) in worst.items():
        groups[(kind_of(name), state, _why(state, filling))].append(name)
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
                    dict.fromkeys(readings.columns.kinds[readings.columns.kind[t]] for t in fillings[0].tensors)
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
                short=_short(readings, name, ranks[0]) if state == "partly filled" else (),
            )
        )
    return tuple(lines), tuple(troubles)


def _filled_kinds(rank: RankReading) -> set[str]:
    return {kind_of(name) for name, filling in rank.fillings.items() if filling.tensors}


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


def _why(state: ParameterState, filling: Filling) -> str:
    if state == "tied":
        return f"is {kind_of(filling.tied_to)}"
    if state == "initialised by design":
        return filling.parameter.design or "the loader itself writes it"
    if state == "filled" and filling.by_engine:
        return "the rest is padding that the loader writes"
    return ""


def _likely(readings: Readings, troubled: list[str]) -> dict[str, tuple[str, ...]]:
    if not troubled:
        return {}
    kinds = {kind_of(name) for name in troubled}
    names = readings.columns.names
    peers, near = PeerNames(), PrefixNames()
    bad = set(troubled)
    fed: dict[str, set[str]] = defaultdict(set)
    for rank in readings.full:
        for name, filling in rank.fillings.items():
            if len(filling.tensors) == 1:
                near.learn(name, names[filling.tensors[0]])
            if not filling.tensors or kind_of(name) not in kinds:
                continue
            found = [names[t] for t in filling.tensors]
            if name in bad:
                fed[name].update(found)
            else:
                peers.learn(name, found)
    return {name: peers.likely(name, fed[name]) or (near.likely(name),) for name in troubled}


def _short(readings: Readings, name: str, number: int) -> tuple[str, ...]:
    """Tensors that fill less of a parameter than others of their kind fill, in it or in its peers."""
    rank = next(r for r in readings.full if r.raw.rank == number)
    kind = readings.columns.kind
    own = rank.shares(name)
    peers = [n for n, f in rank.fillings.items() if n != name and f.full and f.tensors and kind_of(n) == kind_of(name)]
    most: dict[int, int] = {}
    for shares in (own, *(rank.shares(n) for n in peers[:1])):
        for tensor, count in shares.items():
            most[kind[tensor]] = max(most.get(kind[tensor], 0), count)
    return tuple(readings.columns.names[t] for t, count in own.items() if count < most[kind[t]])
