"""The host's calls folded by stack: a node is a chain of names, its time that of all calls with that chain."""

from __future__ import annotations

from typing import Any

import numpy as np

from seatrial.measure.profile.events import EventTable, Kind
from seatrial.measure.profile.nesting import nest

MOST_NODES = 6000
LEAST_SHARE = 0.0005
MOST_DEPTH = 512


def icicle(table: EventTable) -> dict[str, Any]:
    """Nodes as columns: parent (-1 for a root), name, total ns, calls; parents come before children.

    Nodes below `LEAST_SHARE` of the whole, beyond `MOST_NODES` or deeper than `MOST_DEPTH` are left out: their time
    shows as their parent's.
    """
    rows = np.flatnonzero(table.of(Kind.CPU_OP, Kind.RUNTIME, Kind.PYTHON, Kind.ANNOTATION))
    part = table.take(rows)
    nested = nest(part.start, part.dur, part.track)
    node = np.full(len(part), -1, np.int64)
    parents: list[int] = []
    names: list[int] = []
    totals: list[int] = []
    calls: list[int] = []
    root = int(part.dur[nested.depth == 0].sum()) if len(part) else 0
    for depth in range(min(int(nested.depth.max()) + 1, MOST_DEPTH) if len(part) else 0):
        mine = np.flatnonzero((nested.depth == depth) & (part.dur > 0))
        above = nested.parent[mine]
        over = np.where(above >= 0, node[np.maximum(above, 0)], -1)
        # A call whose parent was left out is left out too.
        mine, over = mine[(over >= 0) | (depth == 0)], over[(over >= 0) | (depth == 0)]
        key = (over + 1) * len(part.names) + part.name[mine]
        unique, inverse = np.unique(key, return_inverse=True)
        total = np.zeros(len(unique), np.int64)
        np.add.at(total, inverse, part.dur[mine])
        many = np.bincount(inverse, minlength=len(unique))
        kept = np.flatnonzero(total >= max(LEAST_SHARE * root, 1))
        kept = kept[np.argsort(-total[kept], kind="stable")][: MOST_NODES - len(parents)]
        number = np.full(len(unique), -1, np.int64)
        number[kept] = np.arange(len(parents), len(parents) + len(kept))
        node[mine] = number[inverse]
        parents += (unique[kept] // len(part.names) - 1).tolist()
        names += (unique[kept] % len(part.names)).tolist()
        totals += total[kept].tolist()
        calls += many[kept].tolist()
        if not len(kept):
            break
    used = sorted(set(names))
    place = {name: i for i, name in enumerate(used)}
    return {
        "parent": parents,
        "name": [place[n] for n in names],
        "total": totals,
        "calls": calls,
        "names": [part.names[n][:200] for n in used],
    }
