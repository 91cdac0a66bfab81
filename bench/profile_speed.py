"""First answer of a 500 MB and a 2 GB Chrome trace, and from the cache, beside HTA. Must hold: as printed.

Usage: python bench/profile_speed.py FOLDER [--hta PYTHON] [--mb 500] [--large-mb 2000] [--runs 3]

Each figure is a whole process (imports, reading, tables, printing): median wall time, processor time and largest sum of
resident memory of the process and its helpers. FOLDER keeps the generated traces. HTA runs once, its three
breakdowns, without its rounding to microseconds, in an environment of its own (pip install HolisticTraceAnalysis).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from profile_trace import make

SRC = Path(__file__).resolve().parent.parent / "src"
HTA = """
import sys, shutil, tempfile, os
from hta.trace_analysis import TraceAnalysis
folder = tempfile.mkdtemp(dir=os.path.dirname(sys.argv[1]))
os.link(sys.argv[1], os.path.join(folder, "rank0.json"))
try:
    a = TraceAnalysis(trace_files={0: os.path.join(folder, "rank0.json")}, trace_dir=folder)
    a.get_gpu_kernel_breakdown(visualize=False)
    print(a.get_temporal_breakdown(visualize=False).to_string())
    print(a.get_comm_comp_overlap(visualize=False).to_string())
finally:
    shutil.rmtree(folder)
"""


@dataclass
class Took:
    wall: float
    cpu: float
    peak_mb: float
    out: str


def run(argv: list[str], environment: dict[str, str]) -> Took:
    """One process to its end; memory is sampled every 20 ms over it and its children."""
    start = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True) as child:
        watched = psutil.Process(child.pid)
        peak, cpu = 0, {}
        while child.poll() is None:
            total = 0
            try:
                for process in [watched, *watched.children(recursive=True)]:
                    total += process.memory_info().rss
                    spent = process.cpu_times()
                    cpu[process.pid] = spent.user + spent.system
            except psutil.Error:
                pass
            peak = max(peak, total)
            time.sleep(0.02)
        wall = time.perf_counter() - start
        out = child.stdout.read() if child.stdout else ""
    if child.returncode:
        sys.exit(f"{' '.join(argv[:6])} ended with {child.returncode}:\n{out[-2000:]}")
    return Took(wall=wall, cpu=sum(cpu.values()), peak_mb=peak / 1e6, out=out)


def row(name: str, runs: list[Took], bound: str) -> None:
    wall = statistics.median(t.wall for t in runs)
    cpu = statistics.median(t.cpu for t in runs)
    load = os.getloadavg()[0]
    print(
        f"{name:<34}{wall:9.2f} s{cpu:9.2f} s{max(t.peak_mb for t in runs):9.0f} MB   {bound:<22}{load:6.2f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hta", help="The Python interpreter of an environment with HolisticTraceAnalysis.")
    parser.add_argument("--mb", type=float, default=500)
    parser.add_argument("--large-mb", type=float, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    environment = dict(os.environ, PYTHONPATH=str(SRC))
    print(f"{'':<34}{'wall':>11}{'processor':>11}{'memory':>12}   {'must hold':<22}{'load':>6}")

    def trace(mb: float, absolute: bool = False) -> Path:
        path = given.folder / f"t{mb:g}{'a' if absolute else ''}.json"
        if not path.exists():
            make(path, int(mb * 1e6), absolute=absolute)
        return path

    def read(path: Path, *extra: str) -> list[Took]:
        argv = [sys.executable, "-m", "seatrial", "profile", "read", str(path), *extra]
        return [run(argv, environment) for _ in range(given.runs)]

    main_trace = trace(given.mb)
    ours = read(main_trace, "--no-cache")
    row(f"seatrial, {given.mb:g} MB", ours, "4 s, 1300 MB")
    row(f"seatrial, {given.mb:g} MB, absolute us", read(trace(given.mb, True), "--no-cache"), "4 s, 1300 MB")
    read(main_trace)
    row(f"seatrial, {given.mb:g} MB, cached", read(main_trace), "0.5 s")
    tenth = read(trace(given.mb / 10), "--no-cache")
    row(f"seatrial, {given.mb / 10:g} MB", tenth, "")
    times = statistics.median(t.cpu for t in ours) / statistics.median(t.cpu for t in tenth)
    print(f"{'':<34}10 times the events take {times:.1f} times the processor time (start-up included)")
    if given.large_mb:
        large = trace(given.large_mb)
        argv = [sys.executable, "-m", "seatrial", "profile", "read", str(large), "--no-cache"]
        row(f"seatrial, {given.large_mb:g} MB", [run(argv, environment)], "20 s, 2000 MB")
    if given.hta:
        theirs = run([given.hta, "-c", HTA, str(main_trace)], dict(os.environ, HTA_DISABLE_NS_ROUNDING="1"))
        row(f"HTA, {given.mb:g} MB", [theirs], "40x slower")
        print(f"{'':<34}{theirs.wall / statistics.median(t.wall for t in ours):.0f} times slower")
        print("\n".join(line for line in theirs.out.splitlines() if "idle" in line or line.startswith("0")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
