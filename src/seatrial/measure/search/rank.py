"""Ranking candidates and their Pareto front.

Order: holds the service level, then requests/s, tokens/s, p50 TTFT, p50 TPOT. An unknown service level ranks behind one
that holds and before one that is broken; an unknown figure behind every known one. Only runs of one workload at one
load on one model and machine are ranked: anything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, Verdict, failed, inconclusive, passed
from seatrial.measure.compare.verdict import BenchRun, figure

LEVELS = {Verdict.PASS: 0, Verdict.NOT_APPLICABLE: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}
# What runs that are ranked together must share; an engine's own settings may differ.
SHARED = (
    "workload.order",
    "workload.concurrency",
    "workload.rate",
    "workload.requests",
    "model",
    "tokenizer",
    "devices",
    "engine.version",
)
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
    measured = [(n, r, why or _unfit(r)) for n, r, why in measured]
    good = [(n, r) for n, r, why in measured if r is not None and not why]
    differ = [name for name in SHARED if len({r.setup.get(name) for _, r in good}) > 1]
    if differ:
        raise UsageError(
            f"runs of different workloads, loads or models cannot be ranked together: {', '.join(differ)}",
            mend="Rank each alone; a search whose checkpoint or machine has changed is begun anew.",
        )
    front = pareto([(n, r) for n, r in good])
    placed = sorted(good, key=lambda pair: _key(pair[1]))
    entries = [Entry(name=n, place=i, run=r, on_front=n in front) for i, (n, r) in enumerate(placed, 1)]
    lost = [
        Entry(name=n, place=None, run=r, failed=why or "not measured") for n, r, why in measured if r is None or why
    ]
    return [*entries, *lost]


def _unfit(run: BenchRun | None) -> str:
    """Why a run gives no place, however its figures look."""
    if run is None:
        return ""
    if not run.metrics.is_complete:
        return f"partial: {run.metrics.partial}"
    if run.setup.is_profiled:
        return "a profiler was attached"
    return "no request was answered" if run.metrics.success == 0 else ""


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


def outcome_of(entries: Sequence[Entry]) -> Outcome:
    """Passed if the best holds the service level (or there is none); it fails if even the best breaks it."""
    best = next((e for e in entries if e.place == 1), None)
    if best is None or best.run is None:
        return failed("no candidate could be measured")
    verdict = best.run.sla.verdict
    if verdict is Verdict.FAIL:
        return failed(f"even the best, {best.name}, breaks the service level: {best.run.sla.reason}")
    if verdict is Verdict.INCONCLUSIVE:
        return inconclusive(f"best: {best.name}; whether the service level holds is unknown: {best.run.sla.reason}")
    return passed(f"best: {best.name}")
