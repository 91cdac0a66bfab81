"""The built-in generator beside `vllm bench serve` on a real vLLM (CPU) and the same workload, in turn.

`python bench/bench_vs_vllm.py CHECKPOINT [--repeats 5] [--loads light,heavy,full]`: starts the embedded engine with
CHECKPOINT (such as `seatrial tiny qwen3 FOLDER` makes; no prefix cache, since every repeat sends the same texts), then
runs A B A B: built-in, vllm. Both send random texts of an exact length, greedy, end of sequence ignored. Prints each
run, both sides' spread from run to run, and whether their difference is within it (permutation test), for each load:

* light: 64 requests of 32 tokens for 16, four at once. A token takes the tiny model about a millisecond, which is what
  a client costs too, and client and server share the cores: here the clients are what is compared.
* heavy: 48 requests of 3,000 tokens for 16, four at once: the same model, whose prefill takes its time.
* full: 16 requests of 32 tokens for 8, two at once, of a model of Qwen3-0.6B's shape (random weights, made here,
  0.9 GB): the server's work is what takes time, as on any model that people serve.

For each run it also asks the server's own counters (mean TTFT and E2E on its own clock, the same for both clients), so
that what a client adds is the difference to its own mean. `--clients` alone shows what each adds to a TTFT against a
stand-in that stamps its own times on the same clock.

Both define TTFT alike (docs/bench.md): from before the request is handed to the HTTP client to the client's first sight
of a piece. What differs is what each client costs: `vllm bench serve` makes JSON inside that time
(endpoint_request_func.py of 0.32, line 228) and stamps after aiohttp has woken its reader, decoded and parsed (line
262); the built-in generator has its bytes ready and stamps in `data_received`.
"""

from __future__ import annotations

import argparse
import contextlib
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
from seatrial.measure.load.server_view import server_view
from seatrial.measure.load.service import Running, started
from seatrial.measure.load.workload import Dataset, Load, Workload
from seatrial.targets import load_target

LOADS = {
    "light": Workload(
        schema_version=1,
        name="light",
        dataset=Dataset(input_tokens=32, output_tokens=16, form="text"),
        load=Load(requests=64, concurrency=4, warmup=8),
    ),
    "heavy": Workload(
        schema_version=1,
        name="heavy",
        dataset=Dataset(input_tokens=3000, output_tokens=16, form="text"),
        load=Load(requests=48, concurrency=4, warmup=8),
    ),
    "full": Workload(
        schema_version=1,
        name="full",
        dataset=Dataset(input_tokens=32, output_tokens=8, form="text"),
        load=Load(requests=16, concurrency=2, warmup=4),
    ),
}
# Of Qwen/Qwen3-0.6B's config.json, without its vocabulary: the tokenizer is the tiny model's.
SHAPE = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "layer_types": ["full_attention"] * 28,
}
MAKE = """
import json, pathlib, shutil, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
source, out, shape = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.safetensors*"))
config = json.loads((out / "config.json").read_text()) | shape
(out / "config.json").write_text(json.dumps(config))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(out), dtype=torch.bfloat16)
model.save_pretrained(out)
"""
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
            inside = statistics.fmean(first - read for read, first, *_ in served)
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


def compared(
    service: Running,
    python: Path,
    checkpoint: Path,
    workload: Workload,
    texts: Callable[[list[int], int], list[str]],
    repeats: int,
) -> bool:
    """Both in turn on one service; prints everything; do all figures agree within the spread?"""
    load = workload.load
    print(
        f"load {workload.name}: {load.requests} requests of {workload.dataset.input_tokens} tokens for "
        f"{workload.dataset.output_tokens}, {load.concurrency} at once"
    )
    sides: dict[str, list[Metrics]] = {"builtin": [], "vllm": []}
    plan = make_plan(workload, service.model, texts)
    for number in range(repeats):
        for side, seen in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                to = Service(url=service.url, model=service.model)
                # The warm-up is the same for both and outside of what the server's counters are asked about.
                early = replace(plan, requests=plan.warmup, warmup=())
                drive(to, early, concurrency=load.concurrency, timeout_s=120)
                before = service.counters()
                if side == "builtin":
                    run = drive(to, replace(plan, warmup=()), concurrency=load.concurrency, timeout_s=120)
                    metrics = measure(
                        run, concurrency=load.concurrency, rate=0, stream=True, exact_length=True, speculative=None
                    )
                else:
                    metrics = by_tool(service, python, checkpoint, workload, Path(folder))
                seen.append(replace(metrics, server=server_view(before, service.counters())))
        print(f"round {number + 1}: load average {os.getloadavg()[0]:.1f}", flush=True)
        for side, seen in sides.items():
            told = "  ".join(f"{n} {shown(figure(seen[-1], n))}" for n in NAMES)
            print(
                f"  {side:8} {seen[-1].success}/{seen[-1].total} of {seen[-1].input_tokens} tokens  {told}", flush=True
            )
    print("figure                          builtin (spread)              vllm (spread)   difference   p")
    agree = [row(name, *([figure(m, name) or 0.0 for m in sides[s]] for s in sides)) for name in NAMES]
    print("on the server's own clock, means")
    for name in ("ttft_ms", "e2e_ms"):
        row(f"server {name}", *([getattr(m.server, name) or 0.0 if m.server else 0.0 for m in sides[s]] for s in sides))
    print("what the client and the way to it add: its own mean less the server's")
    for name in ("ttft_ms", "e2e_ms"):
        row(f"added {name}", *([added(m, name) for m in sides[s]] for s in sides))
    return all(agree)


def by_tool(service: Running, python: Path, checkpoint: Path, workload: Workload, folder: Path) -> Metrics:
    """`vllm bench serve`, without a request of its own before the measured ones."""
    bare = replace(workload, load=replace(workload.load, warmup=0))
    out = folder / "out"
    to = {"url": service.url, "model": service.model, "tokenizer": str(checkpoint.absolute()), "out": out}
    command = outside_command("vllm", python, bare, **to)
    command = replace(command, argv=(*command.argv, "--ready-check-timeout-sec", "0"))
    return run_outside("vllm", command, bare, out, folder / "log", timeout_s=400).metrics


def shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def added(metrics: Metrics, name: str) -> float:
    own, server = getattr(metrics, name), metrics.server
    theirs = getattr(server, name) if server is not None else None
    return own.avg - theirs if own is not None and own.avg is not None and theirs is not None else 0.0


def row(name: str, a: list[float], b: list[float]) -> bool:
    """Print one figure of both sides; is their difference within the spread?"""
    cells = [f"{statistics.fmean(v):9.2f} ({min(v):.2f}…{max(v):.2f})" for v in (a, b)]
    if min(a + b) <= 0:
        # All pieces of an answer read at one moment: nothing between them to compare.
        print(f"{name:20} {cells[0]:>31} {cells[1]:>26}   not compared: nothing in some run")
        return True
    found = compare(a, b)
    within = found.p is not None and found.p >= 0.05
    told = f"{found.p:.3f} {'within' if within else 'BEYOND'} the spread" if found.p is not None else "too few runs"
    print(f"{name:20} {cells[0]:>31} {cells[1]:>26}   {found.change:+.1%}   {told}")
    return within


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loads", default="light,heavy,full", help=f"of {', '.join(LOADS)}")
    parser.add_argument("--clients", action="store_true", help="only what each client adds, against a stand-in")
    asked = parser.parse_args()
    target = load_target("cpu").target
    python = target_python(target)

    def texts(lengths: list[int], seed: int) -> list[str]:
        # Text, as vllm bench sends it: token numbers would spare the server the tokenizer.
        with ProbeSession(python, log=Path(tempfile.gettempdir()) / "seatrial-bench-texts.log") as session:
            request = {"folder": str(asked.checkpoint), "lengths": lengths, "seed": seed}
            return list(session.call("exact_text", request, timeout_s=300).answer["texts"])

    clients(python, asked.checkpoint, LOADS["light"], texts)
    if asked.clients:
        return
    loads = asked.loads.split(",")
    verdicts: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as name:
        for folder, wanted in ((asked.checkpoint, ("light", "heavy")), (Path(name) / "full", ("full",))):
            mine = [load for load in loads if load in wanted]
            if mine and not folder.exists():
                subprocess.run([str(python), "-c", MAKE, asked.checkpoint, folder, json.dumps(SHAPE)], check=True)
            with contextlib.ExitStack() as stack:
                for load in mine:
                    service = stack.enter_context(
                        started(
                            folder,
                            target,
                            python=python,
                            scratch=Path(name) / f"server-{load}",
                            max_model_len=4096,
                            extra_args=("--no-enable-prefix-caching",),
                        )
                    )
                    verdicts[load] = compared(service, python, folder, LOADS[load], texts, asked.repeats)
                    stack.close()
    for load, agree in verdicts.items():
        print(
            f"{load}: {'every figure is within the spread' if agree else 'not every figure was seen to be within it'}"
        )


if __name__ == "__main__":
    main()
