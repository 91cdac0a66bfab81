"""Ranking candidates and their Pareto front.

Order: holds the service level, then requests/s, tokens/s, p50 TTFT, p50 TPOT. An unknown service level ranks behind one
that holds and before one that is broken; an unknown figure behind every known one. Only runs of one workload at one
load are ranked: anything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.measure.compare.verdict import BenchRun, figure

LEVELS = {Verdict.PASS: 0, Verdict.NOT_APPLICABLE: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}
ORDER = ("request_throughput", "output_throughput", "ttft_ms.p50", "tpot_ms.p50")


class Entry(Record):
    """A candidate's place. `failed`: why it has none (it did not start, or ended early)."""

    name: str
    place: int | None
    run: BenchRun | None
    failed: str = ""
    on_front: bool = False


def rank(measured: Sequence[tuple[str, BenchRun | None, str]]) -> list[Entry]:
    """(name, run or None, why it failed) to places; failed candidates stay, at the end, with their reason."""
    good = [(n, r) for n, r, why in measured if r is not None and not why]
    orders = {
        (r.setup.get("workload.order"), r.setup.get("workload.concurrency"), r.setup.get("workload.rate"))
        for _, r in good
    }
    if len(orders) > 1:
        raise UsageError("runs of different workloads or loads cannot be ranked together", mend="Rank each load alone.")
    front = pareto([(n, r) for n, r in good])
    placed = sorted(good, key=lambda pair: _key(pair[1]))
    entries = [Entry(name=n, place=i, run=r, on_front=n in front) for i, (n, r) in enumerate(placed, 1)]
    lost = [
        Entry(name=n, place=None, run=r, failed=why or "not measured") for n, r, why in measured if r is None or why
    ]
    return [*entries, *lost]


def pareto(runs: Sequence[tuple[str, BenchRun]], cost: str = "e2e_ms.p50", gain: str = "output_throughput") -> set[str]:
    """Names of those that no other beats in latency (`cost`) and throughput (`gain`) both; the unknown are off it."""
    known = [
        (n, c, g)
        for n, r in runs
        if (c := figure(r.metrics, cost)) is not None and (g := figure(r.metrics, gain)) is not None
    ]
    return {n for n, c, g in known if not any(c2 <= c and g2 >= g and (c2 < c or g2 > g) for _, c2, g2 in known)}


def _key(run: BenchRun) -> tuple[float, ...]:
    values = [figure(run.metrics, name) for name in ORDER]
    more, tokens, first, each = values
    return (
        LEVELS[run.sla.verdict],
        -more if more is not None else math.inf,
        -tokens if tokens is not None else math.inf,
        first if first is not None else math.inf,
        each if each is not None else math.inf,
    )
