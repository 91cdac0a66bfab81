"""Runs and workloads made by hand."""

from __future__ import annotations

from seatrial.core.record import replace
from seatrial.core.verdict import passed
from seatrial.measure.compare.setup import Setup, workload_facts
from seatrial.measure.compare.verdict import BenchRun
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.measure.load.workload import Dataset, Load, Sampling, Sla, Workload


def workload(requests=20, concurrency=4, warmup=2, rate=0.0, stream=True, sla=(), **dataset) -> Workload:
    return Workload(
        schema_version=1,
        name="small",
        dataset=Dataset(**{"input_tokens": 8, "output_tokens": 4, **dataset}),
        load=Load(requests=requests, concurrency=concurrency, warmup=warmup, rate=rate, timeout_s=300),
        sampling=Sampling(stream=stream),
        sla=tuple(sla),
    )


def facts(**changes):
    made = workload(sla=[Sla(metric="ttft", limit_ms=500)])
    known = {
        "model": "weights-1",
        "tokenizer": "tokenizer-1",
        "dtype": "bfloat16",
        "quantization": "none",
        "devices": "8 x 910B3",
        "device_order": "0,1,2,3",
        "tensor_parallel": 4,
        "engine": "vllm",
        "engine.version": "0.32.0",
        "profiler_attached": False,
        "flag.max-num-seqs": "4",
        "env.HCCL_OP_EXPANSION_MODE": "AIV",
        **workload_facts(made, make_plan(made, "m"), "builtin"),
    }
    known.update({k.replace("__", "."): v for k, v in changes.items()})
    return known


def metrics(value=100.0, **changes) -> Metrics:
    spread = Spread(avg=100.0, p50=100.0, p90=110.0, p99=120.0, min=90.0, max=130.0, n=20)
    made = Metrics(
        schema_version=1,
        tool="builtin",
        tool_version="",
        is_complete=True,
        partial="",
        total=20,
        success=20,
        failed=0,
        warmup=2,
        concurrency=4,
        rate=None,
        duration_s=1.0,
        input_tokens=160,
        output_tokens=80,
        request_throughput=value,
        output_throughput=4 * value,
        total_throughput=12 * value,
        ttft_ms=spread,
        tpot_ms=spread,
        itl_ms=spread,
        e2e_ms=spread,
    )
    return replace(made, **changes)


def bench_run(value=100.0, label="A", level="formal", doubts=(), figures=None, **changes) -> BenchRun:
    return BenchRun(
        schema_version=1,
        setup=Setup(label=label, facts=facts(**changes)),
        metrics=metrics(value, **(figures or {})),
        level=level,
        doubts=doubts,
        sla=passed(),
    )


def side(values, label="A", **changes) -> list[BenchRun]:
    return [bench_run(v, label=label, **changes) for v in values]
