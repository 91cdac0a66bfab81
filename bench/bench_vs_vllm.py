"""The built-in generator beside `vllm bench serve` on a real vLLM (CPU) and the same workload, in turn.

`python bench/bench_vs_vllm.py CHECKPOINT [--repeats 5]`: starts the embedded engine with CHECKPOINT (such as
`seatrial tiny qwen3 FOLDER` makes), then runs A B A B: built-in, vllm. Both send 64 random texts of 32 tokens for 16
tokens at concurrency 4 after 8 warm-up requests, greedy, end of sequence ignored. Prints each run, both sides' spread
from run to run, and whether their difference is within it (permutation test).

Seen on two shared cores under SCHED_RR (load average 30 to 60), five runs a side: req/s 142 (113 to 152) and 150 (123
to 168), p = 0.47; TPOT p50 1.20 and 1.21 ms, p = 0.69; E2E p50 23.6 and 25.2 ms, p = 0.21; TTFT p99 7.0 and 8.5 ms,
p = 0.06: all within the spread. TTFT p50 is not: 5.7 and 7.1 ms, p = 0.008. The difference is the client's: against a
stand-in whose own clock says 5.17 ms, the built-in generator sees 5.38 ms and `vllm bench serve` 7.32 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
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
