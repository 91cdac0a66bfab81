"""How long `seatrial --help` takes as a whole process. Must hold: under 150 ms (median).

    python bench/help_time.py [--runs 15] [--peer "/path/to/vllm --version"]

Beside it: the floor (this Python doing nothing, and importing click) and, if named, a peer's command.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import time


def once(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--peer", help="a command to time beside it (fewer runs)")
    options = parser.parse_args()
    cases = {
        "python -c pass (floor)": ([sys.executable, "-c", "pass"], options.runs),
        "python -c 'import click' (floor)": ([sys.executable, "-c", "import click"], options.runs),
        "seatrial --help": ([sys.executable, "-m", "seatrial", "--help"], options.runs),
        "seatrial run --help": ([sys.executable, "-m", "seatrial", "run", "--help"], options.runs),
    }
    if options.peer:
        cases[options.peer] = (shlex.split(options.peer), 3)
    print(f"{'command':<40}{'runs':>5}{'min ms':>9}{'median ms':>11}{'max ms':>9}")
    for name, (argv, runs) in cases.items():
        once(argv)
        times = [once(argv) for _ in range(runs)]
        print(f"{name[:39]:<40}{runs:>5}{min(times):>9.0f}{statistics.median(times):>11.0f}{max(times):>9.0f}")


if __name__ == "__main__":
    main()
