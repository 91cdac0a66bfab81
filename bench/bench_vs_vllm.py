"""The built-in generator beside `vllm bench serve` on a real vLLM (CPU) and the same workload, in turn.

`python bench/bench_vs_vllm.py CHECKPOINT [--repeats 5]`: starts the embedded engine with CHECKPOINT (such as
`seatrial tiny qwen3 FOLDER` makes), then runs A B A B: built-in, vllm. Both send 64 random texts of 32 tokens for 16
tokens at concurrency 4 after 8 warm-up requests, greedy, end of sequence ignored. Prints each run, both sides' spread
from run to run, and whether their difference is within it (permutation test). Before that, and alone with `--clients`,
it shows what each client adds to a TTFT: both against a stand-in that stamps its own times on the same clock.

Seen on two shared cores under SCHED_RR (load average 30 to 60), five runs a side: req/s 142 (113 to 152) and 150 (123
to 168), p = 0.47; TPOT p50 1.20 and 1.21 ms, p = 0.69; E2E p50 23.6 and 25.2 ms, p = 0.21; TTFT p99 7.0 and 8.5 ms,
p = 0.06: all within the spread. TTFT p50 is not: 5.7 and 7.1 ms, p = 0.008.

Why: `vllm bench serve` takes its start before `session.post()` (endpoint_request_func.py of 0.32, line 228), so that
making the JSON, the connection and the write are in its TTFT, and its first stamp after aiohttp has woken the reader,
the bytes are decoded and the JSON is parsed (line 262). The built-in generator has its bytes ready and stamps in
`data_received`. Seen with --clients on two shared cores at load average 34 (so the sizes are those of a starved
machine, the order is not): against a stand-in whose own clock says 7.5 to 7.8 ms, the built-in generator adds 0.23 ms
(means, median of 3), vllm bench serve 15.6 ms; on a quieter machine earlier 0.2 and 2.2 ms (5.17 ms of its own).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from seatrial.core.record import replace
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.measure.compare.statistics import compare
from seatrial.measure.compare.verdict import figure
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.generator import Service, drive
from seatrial.measure.load.metrics import Metrics, measure
from seatrial.measure.load.outside import outside_command, run_outside
from seatrial.measure.load.service import started
from seatrial.measure.load.workload import Dataset, Load, Workload
from seatrial.targets import load_target

NAMES = ("request_throughput", "output_throughput", "ttft_ms.p50", "ttft_ms.p99", "tpot_ms.p50", "e2e_ms.p50")


STAND_IN = Path(__file__).resolve().parents[1] / "tests/measure/fast_server.py"


def clients(python: Path, checkpoint: Path, workload: Workload, texts: Callable[[list[int], int], list[str]]) -> None:
    """Mean milliseconds of a TTFT by where they were spent, for both clients, median of three runs."""
    rows: dict[str, list[list[float]]] = {"builtin": [], "vllm": []}
    for _ in range(3):
        for name in rows:
            server = subprocess.Popen(
                [sys.executable, str(STAND_IN), "--ttft", "0.005", "--gap", "0.001", "--served-model-name", "m"],
                stdout=subprocess.PIPE,
            )
            try:
                assert server.stdout is not None
                url = f"http://127.0.0.1:{int(server.stdout.readline())}"
                ttfts = (
                    by_builtin(url, workload, texts)
                    if name == "builtin"
                    else by_vllm(url, python, checkpoint, workload)
                )
                times = json.loads(urllib.request.urlopen(f"{url}/times").read())
            finally:
                server.kill()
                server.wait()
            served = sorted((t for t in times.values()), key=lambda t: t[0])[-workload.load.requests :]
            inside = statistics.fmean(first - read for read, first, _ in served)
            row = [statistics.fmean(ttfts) * 1e3, inside * 1e3]
            rows[name].append(row)
    print(f"what a client adds to TTFT (ms, means, median of 3; load average {os.getloadavg()[0]:.1f})")
    print("client     its TTFT   the server's own   added by the client")
    for name, found in rows.items():
        own, inside = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:8} {own:10.2f} {inside:18.2f} {own - inside:18.2f}")


def by_builtin(url: str, workload: Workload, texts: Callable[[list[int], int], list[str]]) -> list[float]:
    plan = make_plan(workload, "m", texts)
    run = drive(Service(url=url, model="m"), plan, concurrency=workload.load.concurrency, timeout_s=60)
    kept = [r for r in run.records if not r.warmup]
    return [r.first_s - r.intended_s for r in kept if r.first_s is not None]


def by_vllm(url: str, python: Path, checkpoint: Path, workload: Workload) -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        to = {"url": url, "model": "m", "tokenizer": str(checkpoint.absolute()), "out": out}
        command = outside_command("vllm", python, workload, **to)
        run_outside(
            "vllm",
            replace(command, argv=(*command.argv, "--save-detailed")),
            workload,
            out,
            Path(name) / "log",
            timeout_s=300,
        )
        ttfts: list[float] = json.loads((out / "vllm.json").read_text())["ttfts"]
    return ttfts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clients", action="store_true", help="only what each client adds, against a stand-in")
    asked = parser.parse_args()
    target = load_target("cpu").target
    python = target_python(target)
    workload = Workload(
        schema_version=1,
        name="both",
        dataset=Dataset(input_tokens=32, output_tokens=16, form="text"),
        load=Load(requests=64, concurrency=4, warmup=8),
    )

    def texts(lengths: list[int], seed: int) -> list[str]:
        # Text, as vllm bench sends it: token numbers would spare the server the tokenizer.
        with ProbeSession(python, log=Path(tempfile.gettempdir()) / "seatrial-bench-texts.log") as session:
            request = {"folder": str(asked.checkpoint), "lengths": lengths, "seed": seed}
            return list(session.call("exact_text", request, timeout_s=300).answer["texts"])

    clients(python, asked.checkpoint, workload, texts)
    if asked.clients:
        return
    sides: dict[str, list[Metrics]] = {"builtin": [], "vllm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with started(asked.checkpoint, target, python=python, scratch=folder / "server", max_model_len=512) as service:
            plan = make_plan(workload, service.model, texts)
            for number in range(asked.repeats):
                run = drive(Service(url=service.url, model=service.model), plan, concurrency=4, timeout_s=120)
                own = measure(run, concurrency=4, rate=0, stream=True, exact_length=True, speculative=None)
                sides["builtin"].append(own)
                out = folder / f"out-{number}"
                command = outside_command(
                    "vllm",
                    python,
                    workload,
                    url=service.url,
                    model=service.model,
                    tokenizer=str(asked.checkpoint.absolute()),
                    out=out,
                )
                log = folder / f"vllm-{number}.log"
                sides["vllm"].append(run_outside("vllm", command, workload, out, log, timeout_s=300).metrics)
                print(f"round {number + 1}: load average {os.getloadavg()[0]:.1f}", flush=True)
                for side, seen in sides.items():
                    told = "  ".join(f"{n} {figure(seen[-1], n):.2f}" for n in NAMES)
                    print(f"  {side:8} {seen[-1].success}/{seen[-1].total}  {told}", flush=True)
    print("figure                 builtin (spread)        vllm (spread)        difference   p")
    for name in NAMES:
        a, b = ([figure(m, name) or 0.0 for m in sides[s]] for s in ("builtin", "vllm"))
        cells = [f"{statistics.fmean(v):9.2f} ({min(v):.2f}…{max(v):.2f})" for v in (a, b)]
        if min(a + b) <= 0:
            # All pieces of an answer read at one moment: nothing between them to compare.
            print(f"{name:20} {cells[0]:>26} {cells[1]:>26}   not compared: 0 in some run")
            continue
        found = compare(a, b)
        within = (
            "unknown" if found.p is None else f"{found.p:.3f} {'within' if found.p >= 0.05 else 'BEYOND'} the spread"
        )
        print(f"{name:20} {cells[0]:>26} {cells[1]:>26}   {found.change:+.1%}   {within}")


if __name__ == "__main__":
    main()
