"""Reads the headers of a checkpoint of DeepSeek-V3's size: seatrial, safetensors and huggingface_hub side by side.

Usage: python bench/inspect_headers.py [--folder FOLDER] [--peer PYTHON] [--runs 5]

Makes the checkpoint (sparse, some 20 MB on disk) if FOLDER does not exist. `--peer` is an interpreter that has
safetensors and huggingface_hub (default: this one). Medians and ranges of RUNS interleaved runs, warm cache: whole
processes (wall time from start to exit, peak memory), and the reading alone inside one (imports left out).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from make_sparse import make

ROOT = Path(__file__).resolve().parent.parent

# The collector is off as in read_card, which is what the command and the step call.
OURS = """
import gc, sys, time
gc.disable()
from pathlib import Path
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.weights import read_weights
t = time.perf_counter()
w = read_weights(Folder(Path(sys.argv[1])))
print(time.perf_counter() - t, w.count)
"""
HEADERS = """
import gc, sys, time
gc.disable()
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


class Run(NamedTuple):
    """Wall and processor seconds and peak MB of a whole process, and what it printed."""

    wall: float
    cpu: float
    peak: float
    output: str


def run(command: list[str]) -> Run:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{command[:3]} ended with {process.returncode}: {process.stderr.read().decode()[-2000:]}")
        process.stderr.close()
        output.seek(0)
        text = output.read().decode()
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} s ({min(values):.3f}-{max(values):.3f})"


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
        inner = {
            "seatrial headers, file by file": [here, "-c", HEADERS, str(folder)],
            "seatrial headers, index, shards": [here, "-c", OURS, str(folder)],
            "safetensors safe_open": [options.peer, "-c", SAFE_OPEN, str(folder)],
            "huggingface_hub, file by file": [options.peer, "-c", HUB_FILES, str(folder)],
            "huggingface_hub, folder": [options.peer, "-c", HUB_FOLDER, str(folder)],
        }
        commands = {
            "seatrial inspect": [here, "-m", "seatrial", "inspect", str(folder)],
            "seatrial inspect --json": [here, "-m", "seatrial", "inspect", str(folder), "--json"],
            **inner,
        }
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for round_ in range(options.runs + 1):
            for name, command in commands.items():
                done = run(command)
                if round_:  # the first round warms the cache
                    runs[name].append(done)
        print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {options.runs} runs, median (min-max)")
        for name, done in runs.items():
            line = f"{name:32} wall {spread([r.wall for r in done])}  cpu {spread([r.cpu for r in done])}"
            line += f"  peak {max(r.peak for r in done):.0f} MB"
            if name in inner:
                line += f"  reading alone {spread([float(r.output.split()[0]) for r in done])}"
            print(line)


if __name__ == "__main__":
    main()
