"""A fast stand-in server in a process of its own, small workloads, and runs made by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.measure.made import BenchRun, bench_run

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
def made_run():
    """Makes a formal, complete run; see `made.bench_run`."""

    def make(**changes) -> BenchRun:
        return bench_run(**changes)

    return make
