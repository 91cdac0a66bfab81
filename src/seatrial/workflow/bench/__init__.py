"""A benchmark as a run: one or two sides measured in turn, every step kept.

`run_bench(BenchJob(...))` is the door; `kept.py` reads back what a run holds, `steps.py` has the single steps.
"""

from seatrial.workflow.bench.job import BenchEnded, BenchJob, Side
from seatrial.workflow.bench.kept import ACCURACY, VERDICT, bench_runs, commands_of, judged_of
from seatrial.workflow.bench.run import run_bench

__all__ = [
    "ACCURACY",
    "VERDICT",
    "BenchEnded",
    "BenchJob",
    "Side",
    "bench_runs",
    "commands_of",
    "judged_of",
    "run_bench",
]
