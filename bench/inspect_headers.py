"""Reads the headers of a checkpoint of DeepSeek-V3's size: seatrial, safetensors and huggingface_hub side by side.

Usage: python bench/inspect_headers.py [--folder FOLDER] [--peer PYTHON] [--runs 5]

Makes the checkpoint (sparse, some 20 MB on disk) if FOLDER does not exist. `--peer` is an interpreter that has
safetensors and huggingface_hub (default: this one). Medians and ranges of RUNS interleaved runs, warm cache: whole
processes (wall time from start to exit, peak memory), and the reading alone inside one (imports left out).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from make_sparse import make

ROOT = Path(__file__).resolve().parent.parent

OURS = """
import sys, time
from pathlib import Path
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.weights import read_weights
t = time.perf_counter()
w = read_weights(Folder(Path(sys.argv[1])))
print(time.perf_counter() - t, w.count)
"""
HEADERS = """
import sys, time
from pathlib import Path
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.headers import read_header
t = time.perf_counter()
f = Folder(Path(sys.argv[1]))
n = sum(len(read_header(f, x).tensors) for x in f.names if x.endswith(".safetensors"))
print(time.perf_counter() - t, n)
"""
SAFE_OPEN = """
import sys, time
from pathlib import Path
from safetensors import safe_open
t = time.perf_counter()
n = 0
for f in sorted(Path(sys.argv[1]).glob("*.safetensors")):
    with safe_open(f, framework="np") as s:
        for k in s.keys():
            x = s.get_slice(k)
            x.get_shape(), x.get_dtype()
            n += 1
print(time.perf_counter() - t, n)
"""
HUB_FILES = """
import sys, time
from pathlib import Path
from huggingface_hub import parse_local_safetensors_file_metadata as parse
t = time.perf_counter()
n = sum(len(parse(f).tensors) for f in sorted(Path(sys.argv[1]).glob("*.safetensors")))
print(time.perf_counter() - t, n)
"""
HUB_FOLDER = """
import sys, time
from huggingface_hub import get_local_safetensors_metadata as get
t = time.perf_counter()
n = len(get(sys.argv[1]).weight_map)
print(time.perf_counter() - t, n)
"""


def run(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, peak MB, output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    output, errors = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode not in (0, 3):
        sys.exit(f"{command[:3]} ended with {process.returncode}: {errors.decode()[-2000:]}")
    return wall, 0.0, output.decode()


def peak(command: list[str]) -> float:
    """Peak resident MB of one run, by a child of its own (ru_maxrss of children is a maximum over all of them)."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); " \
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"  # fmt: skip
    return float(run([sys.executable, "-c", code, *command])[2])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "deepseek"
        if not folder.exists():
            print(f"made {make(folder)} tensors")
        here = sys.executable
        processes = {
            "seatrial inspect --json": [here, "-m", "seatrial", "inspect", str(folder), "--json"],
            "seatrial inspect": [here, "-m", "seatrial", "inspect", str(folder)],
        }
        readers = {
            "seatrial headers, file by file": [here, "-c", HEADERS, str(folder)],
            "seatrial headers, index, shards": [here, "-c", OURS, str(folder)],
            "safetensors safe_open": [options.peer, "-c", SAFE_OPEN, str(folder)],
            "huggingface_hub, file by file": [options.peer, "-c", HUB_FILES, str(folder)],
            "huggingface_hub, folder": [options.peer, "-c", HUB_FOLDER, str(folder)],
        }
        walls: dict[str, list[float]] = {name: [] for name in processes | readers}
        works: dict[str, list[float]] = {name: [] for name in readers}
        counts: dict[str, str] = {}
        for _ in range(options.runs + 1):  # the first round warms the cache
            for name, command in (processes | readers).items():
                wall, _, output = run(command)
                walls[name].append(wall)
                if name in readers:
                    work, counts[name] = output.split()
                    works[name].append(float(work))
        print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {options.runs} runs, medians (min-max)")
        for name, command in (processes | readers).items():
            times = walls[name][1:]
            line = f"{name:32} process {statistics.median(times):.3f} s ({min(times):.3f}-{max(times):.3f})"
            line += f"  peak {peak(command):.0f} MB"
            if name in works:
                inner = works[name][1:]
                line += f"  reading {statistics.median(inner):.3f} s ({min(inner):.3f}-{max(inner):.3f})"
                line += f"  {counts[name]} tensors"
            print(line)
        print(json.dumps({"reading_s": {n: statistics.median(w[1:]) for n, w in works.items()}}))


if __name__ == "__main__":
    # Children must not inherit a limit that hides a leak.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
