"""Lint over whole source trees: seconds as a whole process, and what each rule says. Must hold: a plugin under 4 s.

    python bench/lint.py PATH... [--engine SRC] [--runs 5] [--show CODE]

All rules run, those that are off by default too. Beside the time stand the processor time (all processes of one run),
the floor (parsing the same files with `ast`, in one process) and the machine's load average. `--show CODE` prints that
rule's hits with their source line, to be read and judged by hand.
"""

from __future__ import annotations

import argparse
import ast
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from seatrial.adapter.lint import RULES
from seatrial.adapter.lint.walk import walk


def processor_s() -> float:
    """Seconds of processor that ended child processes have used, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--engine", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--show", default="")
    arguments = parser.parse_args()
    off = ",".join(r.code for r in RULES if r.off_because)
    for path in arguments.paths:
        sources = [(path / f).read_bytes() for f in walk(path, path).files]
        gc.disable()
        begun = time.perf_counter()
        for source in sources:
            try:
                ast.parse(source)
            except (SyntaxError, ValueError):
                continue
        floor = time.perf_counter() - begun
        gc.enable()
        command = [sys.executable, "-m", "seatrial", "lint", str(path), "--json", "--select", f"VLM,ASC,KUN,{off}"]
        command += ["--engine", str(arguments.engine)] if arguments.engine else []
        times, work = [], []
        for _ in range(arguments.runs):
            begun, spent = time.perf_counter(), processor_s()
            done = subprocess.run(command, capture_output=True)
            times.append(time.perf_counter() - begun)
            work.append(processor_s() - spent)
            if done.returncode not in (0, 1):
                print(done.stderr.decode()[-2000:], file=sys.stderr)
                return 1
        report = json.loads(done.stdout)
        lines = sum(s.count(b"\n") for s in sources)
        hits = Counter(p["code"] for p in report["problems"])
        platform = report["platform"] or "no platform"
        print(f"{path}: {len(sources)} files, {lines} lines, {len(report['rules'])} rules ({platform})")
        print(
            f"  {statistics.median(times):.2f} s median of {len(times)} ({min(times):.2f} to {max(times):.2f}), "
            f"{statistics.median(work):.2f} s of processor; ast.parse alone {floor:.2f} s; "
            f"load average {os.getloadavg()[0]:.1f}"
        )
        print(f"  {', '.join(f'{code} {n}' for code, n in sorted(hits.items())) or 'nothing found'}")
        for problem in report["problems"]:
            if problem["code"] == arguments.show:
                text = Path(report["root"], problem["path"]).read_text(errors="replace").splitlines()
                print(f"    {problem['path']}:{problem['line']} {problem['message']}")
                print(f"      {text[problem['line'] - 1].strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
