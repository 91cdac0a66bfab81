"""A fast stand-in server in a process of its own, small workloads, and runs made by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.measure.made import BenchRun, bench_run

OVERRIDES = """
[targets.stand-in]
extends = "cpu"
[targets.stand-in.engine]
kind = "interpreter"
package = ""
version = ""
interpreter = "{python}"
[targets.stand-in.limits]
ready_s = 300
request_s = 300
stop_s = 60
[targets.stand-in.launch.env]
STAND_IN = "{fault}"
STAND_IN_TTFT = "{ttft}"
[targets.stand-in.precheck]
foreign_cpu_percent = 100
swap_swing_mib = 1000000
idle_samples = 1
idle_interval_s = 0.2
"""
WORKLOAD = """
schema_version = 1
name = "small"
[dataset]
kind = "random"
input_tokens = 8
output_tokens = 4
[load]
requests = 40
concurrency = 4
warmup = 4
[[sla]]
metric = "ttft"
limit_ms = 300000
"""
SERVER = Path(__file__).parent / "fast_server.py"


@pytest.fixture
def stand_in():
    """Starts stand-ins with the arguments given; their URL and process. All are ended."""
    running = []

    def start(*args: str):
        process = subprocess.Popen([sys.executable, str(SERVER), *args], stdout=subprocess.PIPE)
        running.append(process)
        port = int(process.stdout.readline())
        return f"http://127.0.0.1:{port}", process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def bench_place(tmp_path, monkeypatch):
    """A folder to work in: a target whose `vllm` is the stand-in, a checkpoint, a workload; the faults can be set."""
    home = tmp_path / "engine" / "bin"
    home.mkdir(parents=True)
    (home / "vllm").write_text(f"#!{sys.executable} -S\n" + SERVER.read_text())
    (home / "vllm").chmod(0o755)
    (home / "python").symlink_to(sys.executable)
    # Its version, as pip would have left it.
    (tmp_path / "engine/lib/python3/site-packages/vllm-0.32.0.dist-info").mkdir(parents=True)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "qwen3", "dtype": "bfloat16"}')
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"x")
    (tmp_path / "w.toml").write_text(WORKLOAD)
    monkeypatch.chdir(tmp_path)

    def make(fault: str = "", ttft: float = 0.004) -> Path:
        text = OVERRIDES.format(python=home / "python", fault=fault, ttft=ttft)
        (tmp_path / "seatrial.toml").write_text(text)
        return tmp_path

    return make


@pytest.fixture
def made_run():
    """Makes a formal, complete run; see `made.bench_run`."""

    def make(**changes) -> BenchRun:
        return bench_run(**changes)

    return make
