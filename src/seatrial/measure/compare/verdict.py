"""From two sets of runs to one verdict: fairness first, then the gate and the runs' own state, then the figures.

`pass`: B is better in the figure that is judged and, where there is one, holds the service level. `fail`: B is worse or
breaks it. `inconclusive`: unfair, too few runs, or no difference beyond the noise. `smoke-only`: the runs are too small
or unchecked to carry any claim; figures are shown side by side without a percentage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, Verdict, failed, inconclusive, passed
from seatrial.measure.compare.fairness import Fairness, fairness
from seatrial.measure.compare.setup import Setup
from seatrial.measure.compare.statistics import ALPHA, FEWEST, Comparison, compare, is_tie
from seatrial.measure.load.metrics import Metrics
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Sla

Level = Literal["formal", "debug"]
Answer = Literal["pass", "fail", "inconclusive", "smoke-only"]
# Figure to whether more is better.
FIGURES = {
    "request_throughput": True,
    "output_throughput": True,
    "total_throughput": True,
    "ttft_ms.p50": False,
    "ttft_ms.p99": False,
    "tpot_ms.p50": False,
    "tpot_ms.p99": False,
    "itl_ms.p50": False,
    "e2e_ms.p50": False,
    "e2e_ms.p99": False,
}
# Of the prompts' tokens; repeats whose prefix cache answered by more than this differently did other work.
CACHED = 0.05


class BenchRun(Record):
    """One measured run: with what, its figures, and whether the gate around it allows a formal claim.

    `level` debug: `doubts` say why no percentage may be made of it. `evidence` names where it is kept.
    """

    schema_version: int
    setup: Setup
    metrics: Metrics
    level: Level
    doubts: tuple[str, ...] = ()
    sla: Outcome = msgspec.field(default_factory=lambda: inconclusive("not judged"))
    evidence: str = ""


class Judged(Record):
    """The comparison of B with A. Without fairness or with runs of level debug, `figures` is empty."""

    schema_version: int
    answer: Answer
    reason: str
    label_a: str
    label_b: str
    runs_a: int
    runs_b: int
    judged_by: str
    fairness: Fairness
    figures: dict[str, Comparison] = msgspec.field(default_factory=dict)
    tied: tuple[str, ...] = ()
    winner: str = ""
    doubts: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()

    def outcome(self) -> Outcome:
        if self.answer == "pass":
            return passed(self.reason)
        return failed(self.reason) if self.answer == "fail" else inconclusive(self.reason)


def figure(metrics: Metrics, name: str) -> float | None:
    """A figure by its name in `FIGURES`."""
    head, _, tail = name.partition(".")
    value = getattr(metrics, head)
    found = getattr(value, tail) if tail and value is not None else value
    return float(found) if isinstance(found, (int, float)) else None


def judge(
    a: Sequence[BenchRun],
    b: Sequence[BenchRun],
    *,
    under_test: Sequence[str],
    judged_by: str = "request_throughput",
    sla: Sequence[Sla] = (),
) -> Judged:
    """Compare B's runs with A's. Every run is looked at; all runs of a side must share their setup."""
    first_a, first_b = a[0].setup, b[0].setup
    found = fairness(first_a, first_b, under_test)
    doubts = [*_within(a), *_within(b), *(f"{run.setup.label}: {d}" for run in (*a, *b) for d in _unfit(run))]
    figures: dict[str, Comparison] = {}
    tied: list[str] = []
    if found.is_fair and not doubts:
        for name in FIGURES:
            left = [v for r in a if (v := figure(r.metrics, name)) is not None and v > 0]
            right = [v for r in b if (v := figure(r.metrics, name)) is not None and v > 0]
            # A figure that one run lacks is compared on no run.
            if len(left) == len(a) and len(right) == len(b):
                figures[name] = compare(left, right)
                tied.extend([name] if is_tie(left, right) else [])
    answer, reason = _answer(found, doubts, figures, tied, judged_by, b, sla, len(a), len(b))
    winner = first_b.label if answer == "pass" else ""
    if answer == "fail" and judged_by in figures and (figures[judged_by].p or 1) < ALPHA:
        winner = first_a.label if _gain(judged_by, figures[judged_by]) < 0 else ""
    return Judged(
        schema_version=1,
        answer=answer,
        reason=reason,
        label_a=first_a.label,
        label_b=first_b.label,
        runs_a=len(a),
        runs_b=len(b),
        judged_by=judged_by,
        fairness=found,
        figures=figures,
        tied=tuple(tied),
        winner=winner,
        doubts=tuple(dict.fromkeys(doubts)),
        evidence=tuple(r.evidence for r in (*a, *b) if r.evidence),
    )


def _within(runs: Sequence[BenchRun]) -> list[str]:
    """Runs of one side that are not repeats of each other."""
    first = runs[0].setup
    odd = []
    for run in runs[1:]:
        names = sorted(n for n in {*first.facts, *run.setup.facts} if first.get(n) != run.setup.get(n))
        if names:
            odd.append(f"runs of {first.label} differ among themselves in {', '.join(names[:5])}")
    shares = [r.metrics.server.cached for r in runs if r.metrics.server and r.metrics.server.cached is not None]
    if shares and max(shares) - min(shares) > CACHED:
        odd.append(
            f"runs of {first.label} are no repeats: the prefix cache answered {min(shares):.0%} of the prompts in one "
            f"and {max(shares):.0%} in another (a fresh service for each run, or no prefix cache)"
        )
    return odd


def _unfit(run: BenchRun) -> list[str]:
    found = [] if run.metrics.is_complete else [f"a run is partial: {run.metrics.partial}"]
    if run.level != "formal":
        found.extend(run.doubts or ("a run is of level debug",))
    return found


def _gain(name: str, comparison: Comparison) -> float:
    """The change, positive for better."""
    return comparison.change if FIGURES[name] else -comparison.change


def _answer(
    found: Fairness,
    doubts: Sequence[str],
    figures: dict[str, Comparison],
    tied: Sequence[str],
    judged_by: str,
    b: Sequence[BenchRun],
    sla: Sequence[Sla],
    runs_a: int,
    runs_b: int,
) -> tuple[Answer, str]:
    if not found.is_fair:
        names = ", ".join(d.field for d in found.forbidden()[:6])
        return "inconclusive", f"the runs are not comparable: {names}"
    if doubts:
        return "smoke-only", doubts[0]
    if judged_by not in figures:
        return "inconclusive", f"{judged_by} is unknown of at least one run"
    levels = [judge_sla(run.metrics, sla).verdict for run in b] if sla else []
    if Verdict.FAIL in levels:
        return "fail", f"{levels.count(Verdict.FAIL)} of {runs_b} runs break the service level"
    if Verdict.INCONCLUSIVE in levels:
        return "inconclusive", "whether the service level holds is unknown"
    result = figures[judged_by]
    if result.p is None:
        return "inconclusive", f"{runs_a} and {runs_b} runs: no verdict under {FEWEST} a side"
    gain = _gain(judged_by, result)
    seen = f"{judged_by} {result.change:+.1%} (p = {result.p:.3f})"
    if judged_by in tied:
        return "inconclusive", f"a tie within 1 % over {runs_a} runs: {seen}"
    if result.p >= ALPHA:
        least = f"{result.detectable:.1%}" if result.detectable is not None else "unknown"
        return "inconclusive", f"no difference beyond the noise: {seen}; the least that could be seen is {least}"
    return ("pass", f"better: {seen}") if gain > 0 else ("fail", f"worse: {seen}")
