"""How late readiness is noticed, and what waiting costs. Must hold: within 0.5 s of being true, under 2 % of a core.

`python bench/gate_readiness.py [--starts 20] [--longest 10] [--seed 6]`. The stand-in of the tests is the server; it
gets ready after a random time and writes down when, on the same clock. Prints one line of JSON: delays in seconds
(median, worst), and the processor time of seatrial and of its keeper as shares of the time they waited (all starts
together; worst start among waits of a second and more). A busy machine lengthens the delay, not the processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import sys
import tempfile
from pathlib import Path

import psutil

from seatrial.gates.log_watch import LogWatch
from seatrial.gates.readiness import wait_ready
from seatrial.gates.server import Server
from seatrial.targets import load_target

STAND_IN = Path(__file__).resolve().parent.parent / "tests/gates/stand_in.py"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--longest", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=6)
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    delays, shares, own, keepers, waited = [], [], 0.0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.starts):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            place = Path(folder) / str(number)
            place.mkdir()
            words = ["serve", "model", "--served-model-name", "m", "--host", "127.0.0.1", "--port", str(port)]
            server = Server(
                (sys.executable, "-S", str(STAND_IN), *words),
                env={**os.environ, "STAND_IN": f"slow-start={dice.uniform(0.2, asked.longest):.3f}"},
                cwd=place,
                log=place / "server.log",
                folder=place,
                grace_s=5,
            )
            with server:
                seen = wait_ready(
                    server,
                    LogWatch(place / "server.log", server.started_at),
                    host="127.0.0.1",
                    port=port,
                    model="m",
                    limits=load_target("cpu").target.limits,
                    say=lambda text: None,
                )
                if seen.ending is not None:
                    sys.exit(f"start {number}: {seen.ending}: {seen.reason}")
                keeper = sum(psutil.Process(server.keeper_pid).cpu_times()[:2])
            ready_at = float((place / "server.log").read_text().split("READY AT ")[1].split()[0])
            delays.append(server.started_at + seen.milestones[-1].at_s - ready_at)
            own, keepers, waited = own + seen.seatrial_cpu_s, keepers + keeper, waited + seen.waited_s
            if seen.waited_s >= 1:
                shares.append(seen.seatrial_cpu_s / seen.waited_s)
    report = {
        "starts": asked.starts,
        "delay_median_s": round(statistics.median(delays), 3),
        "delay_worst_s": round(max(delays), 3),
        "waited_s": round(waited, 1),
        "cpu_share": round(own / waited, 4),
        "cpu_share_worst": round(max(shares), 4),
        # From its start on, imports included.
        "keeper_cpu_share": round(keepers / waited, 4),
    }
    print(json.dumps(report))
    sys.exit(report["delay_worst_s"] > 0.5 or report["cpu_share"] > 0.02)


if __name__ == "__main__":
    main()
