"""Time the triage of a large interleaved log against `grep -c ERROR` and a naive loop over Python regexes.

Usage: python bench/triage_speed.py LOG_FOLDER [--size-mb 1024] [--naive-mb 16] [--keep FILE]

The log is made of the real logs in LOG_FOLDER: their lines, interleaved in random runs, with fresh process ids per
round, until the size is reached. Reports seconds and peak memory of the triage process and its child.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make(target: Path, folder: Path, size: int) -> None:
    logs = [p.read_bytes().splitlines(keepends=True) for p in sorted(folder.glob("*.log"))]
    chance = random.Random(7)
    written = round_number = 0
    with target.open("wb") as out:
        while written < size:
            round_number += 1
            places = [0] * len(logs)
            block = []
            while any(p < len(log) for p, log in zip(places, logs, strict=True)):
                which = chance.randrange(len(logs))
                run = chance.randrange(1, 12)
                block.extend(logs[which][places[which] : places[which] + run])
                places[which] += run
            data = re.sub(rb"pid=\d+", b"pid=%d" % (1000 + round_number), b"".join(block))
            written += out.write(data)


def naive(log: Path, limit: int) -> float:
    """Every line against every pattern, as a script would do it; measured on `limit` bytes, scaled to the file."""
    from seatrial.triage import library

    patterns = [re.compile(s.pattern) for s in library().signatures if s.pattern]
    read = 0
    start = time.perf_counter()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            read += len(line)
            for pattern in patterns:
                pattern.search(line)
            if read > limit:
                break
    return (time.perf_counter() - start) * log.stat().st_size / read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size-mb", type=int, default=1024)
    parser.add_argument("--naive-mb", type=float, default=1)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        log = given.keep or Path(scratch) / "big.log"
        if not log.exists():
            make(log, given.folder, given.size_mb << 20)
        size = log.stat().st_size / (1 << 20)
        start = time.perf_counter()
        count = subprocess.run(["grep", "-c", "ERROR", str(log)], capture_output=True, text=True).stdout.strip()
        grep = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        code = (
            "import resource,sys;from seatrial.triage import diagnose;a=diagnose([sys.argv[1]]);"
            "print(a.category,a.signature,a.first_cause and a.first_cause.line,a.sources[0].lines,"
            "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        run = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, text=True)
        took = time.perf_counter() - start
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime
        if run.returncode:
            sys.exit(run.stderr)
        *answer, own, child = run.stdout.split()
        print(f"log                {size:8.0f} MB  {answer[-1]} lines")
        rate = f"{took:8.1f} s   {size / took:6.0f} MB/s   {cpu:.1f} s of processor"
        print(f"seatrial triage    {rate}   peak {int(own) >> 10} + {int(child) >> 10} MB")
        print(f"                   -> {' '.join(answer)}")
        print(f"grep -c ERROR      {grep:8.1f} s   {count} lines")
        slow = naive(log, int(given.naive_mb * (1 << 20)))
        print(f"naive regex loop   {slow:8.0f} s   (measured on {given.naive_mb:g} MB, scaled)")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"peak of any child  {peak} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
