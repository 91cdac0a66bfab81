"""Comparing measured runs: fairness, statistics, verdict."""

from seatrial.measure.compare.fairness import Difference, Fairness, fairness
from seatrial.measure.compare.setup import Setup, workload_facts
from seatrial.measure.compare.statistics import Comparison, compare, interleaved
from seatrial.measure.compare.verdict import BenchRun, Judged, judge

__all__ = [
    "BenchRun",
    "Comparison",
    "Difference",
    "Fairness",
    "Judged",
    "Setup",
    "compare",
    "fairness",
    "interleaved",
    "judge",
    "workload_facts",
]
