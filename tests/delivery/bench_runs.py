"""Benches put together by hand: two sides in turn, every request with its times, quiet looks around, all as recorded.

Nothing is measured here: the times are made with a seed, and everything else follows from them as in a real bench.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from delivery_runs import recorded

from seatrial.core.command import Command
from seatrial.core.record import from_plain, replace, to_json, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import passed
from seatrial.evidence import Manifest, Run, Workspace
from seatrial.evidence.manifest import redact_target
from seatrial.measure.compare import interleaved, judge
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.facts import launch_facts
from seatrial.measure.load.generator import LoadRun, late_p99_of
from seatrial.measure.load.metrics import measure
from seatrial.measure.load.precheck import Snapshot, judge_gate
from seatrial.measure.load.records import RequestRecord
from seatrial.measure.load.service import Smoke
from seatrial.measure.load.session import finish
from seatrial.measure.load.workload import Dataset, Load, Sampling, Sla, Workload
from seatrial.targets import load_target

BENCH_ID = "20261121-040000-bench-small-b0b0"
SIDES = {"eager": ("--enforce-eager",), "graph": ()}


def workload(requests: int = 24, **load: Any) -> Workload:
    """Short random prompts under a service level that the made times hold."""
    return Workload(
        schema_version=1,
        name="small",
        dataset=Dataset(input_tokens=32, output_tokens=8),
        load=Load(requests=requests, **{"concurrency": 4, "warmup": 4, **load}),
        sla=(Sla(metric="ttft", limit_ms=500.0),),
    )


def requests_of(made: Workload, dice: random.Random, pace: float) -> tuple[RequestRecord, ...]:
    """As many requests as the workload asks for; `pace` seconds a token."""
    found, at = [], 0.0
    for number in range(made.load.warmup + made.load.requests):
        warm = number < made.load.warmup
        first = at + 0.02 + 0.01 * dice.random()
        pieces = [first]
        for _ in range(made.dataset.output_tokens - 1):
            pieces.append(pieces[-1] + pace * (0.8 + 0.4 * dice.random()))
        found.append(
            RequestRecord(
                index=number if warm else number - made.load.warmup,
                warmup=warm,
                intended_s=at,
                sent_s=at + 0.0002,
                first_s=first,
                end_s=pieces[-1] + 0.0005,
                chunks_s=tuple(pieces),
                prompt_tokens=made.dataset.input_tokens,
                output_tokens=made.dataset.output_tokens,
                asked_tokens=made.dataset.output_tokens,
                how="ok",
                status=200,
                finish_reason="length",
            )
        )
        at += pace * made.dataset.output_tokens / made.load.concurrency
    return tuple(found)


def look(at: float, busy: float = 0.0) -> Snapshot:
    return Snapshot(
        at_s=at, wall=at, busy_s=100.0 + at + busy, ours_s=50.0 + at, cores=2, load_1=0.5, swap_bytes=0, reading=None,
        device_trouble="", has_tool=False,
    )  # fmt: skip


def make_bench(
    workspace: Workspace,
    *,
    name: str = BENCH_ID,
    runs: int = 4,
    sides: tuple[str, ...] = ("eager", "graph"),
    noisy: bool = False,
    inputs: dict[str, str] | None = None,
    load: dict[str, Any] | None = None,
    stream: bool = True,
    **changes: Any,
) -> Run:
    """The bench in a workspace, closed. `noisy`: others used the machine, so that no percentage may be made of it."""
    made = workload(**(load or {}))
    if not stream:
        made = replace(made, sampling=Sampling(stream=False), sla=())
    target = load_target("cpu", None).target
    base = recorded()["manifest"]
    inputs = {"model": base["inputs"]["checkpoint"], "tokenizer": "t0"} if inputs is None else inputs
    job = {
        "kind": "bench", "workload": to_plain(made), "target": "cpu", "checkpoint": "/models/Qwen3-tiny", "runs": runs,
        "sides": [{"label": s, "args": list(SIDES[s]), "env": {}, "drop": [], "service": ""} for s in sides],
        "under_test": ["flag.enforce-eager"], "judged_by": "request_throughput", "smoke": True, "facts": [],
    }  # fmt: skip
    plain = {
        "schema_version": 1, "run_id": name, "created_at": "2026-11-21T04:00:00Z", "seatrial_version": "0.1.0",
        "arguments_given": [], "checkpoint": "/models/Qwen3-tiny", "python": "", "git": [], "environment": {},
        "environment_other_names": [], **base, "arguments": job, "target": redact_target(to_plain(target)),
        "inputs": inputs, **changes,
    }  # fmt: skip
    run = Run.create(workspace.runs_folder / name, from_plain(Manifest, plain, where="manifest"))
    scratch = workspace.root / "scratch" / name
    plan, dice, results = make_plan(made, "Qwen3-tiny"), random.Random(11), {s: [] for s in sides}
    version = plain["versions"]["vllm"]
    order = interleaved(runs) if len(sides) == 2 else "A" * runs
    for letter in order:
        label = sides["AB".index(letter)]
        if not results[label]:
            smoke = Smoke(passed=True, reason="", texts=("Paris is the capital.",), findings=())
            step = StepResult(step=f"accuracy-{label}", outcome=passed(), summary="readable answers", facts=smoke)
            run.store(step, inputs="i", started_at="t", duration_s=0.2)
        number = len(results[label]) + 1
        folder = scratch / f"{label}-{number}"
        folder.mkdir(parents=True)
        argv = (
            "python",
            "-m",
            "vllm",
            "serve",
            "/models/Qwen3-tiny",
            "--port",
            "8000",
            "--dtype",
            "auto",
            *SIDES[label],
        )
        command = Command(purpose="serve", argv=argv, env={})
        known = {"model": inputs.get("model"), "tokenizer": inputs.get("tokenizer"), "dtype": "bfloat16"}
        known |= {"quantization": "none", **launch_facts(command, target, version, None)}
        seen = LoadRun(
            records=requests_of(made, dice, 0.004 if label == "eager" else 0.003),
            planned=made.load.requests,
            duration_s=1.0,
            partial="",
            cpu_share=0.1,
        )
        seen = replace(seen, late_p99_s=late_p99_of([r for r in seen.records if not r.warmup]))
        (folder / "requests.jsonl").write_bytes(b"".join(to_json(r) + b"\n" for r in seen.records))
        (folder / "server.log").write_text("INFO serving\n")
        figures = measure(
            seen, concurrency=made.load.concurrency, rate=0.0, stream=stream, exact_length=True, speculative=None
        )
        gate = judge_gate(target, look(0), (look(10), look(12)), (look(20), look(30, 15.0 if noisy else 0.0)), look(30))
        made_step = f"bench-{label}-{number}"
        result = finish(seen, figures, gate, made, plan, label, known, made_step, folder / "requests.jsonl")
        log = Attachment(name=f"server-{label}.log", path=str(folder / "server.log"))
        bench = replace(result.facts, evidence=f"{name}/{made_step}")
        result = replace(result, facts=bench, commands=(command,), attachments=(*result.attachments, log))
        results[label].append(bench)
        run.store(result, inputs="i", started_at="t", duration_s=2.0)
    verdict, reason = "pass", ""
    if len(sides) == 2:
        judged = judge(*results.values(), under_test=job["under_test"], judged_by=job["judged_by"], sla=made.sla)
        step = StepResult(step="verdict", outcome=judged.outcome(), summary=judged.reason, facts=judged)
        run.store(step, inputs="i", started_at="t", duration_s=0.0)
        verdict, reason = judged.outcome().verdict.value, judged.reason
    run.append("finished", {"verdict": verdict, "signed_off": False, "reason": reason, "kind": "bench", "run_id": name})
    run.close()
    return Run.read(run.folder)


def lines(change: Any) -> Any:
    """An edit of a file of JSON lines: `change(rows)`."""
    import json

    def edit(data: bytes) -> bytes:
        rows = [json.loads(line) for line in data.splitlines()]
        change(rows)
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)

    return edit


def document(change: Any) -> Any:
    """An edit of a JSON document: `change(data)`."""
    import json

    def edit(data: bytes) -> bytes:
        value = json.loads(data)
        change(value)
        return json.dumps(value).encode()

    return edit


def in_manifest(folder: Path, change: Any) -> None:
    file = folder / "manifest.json"
    file.write_bytes(document(change)(file.read_bytes()))
