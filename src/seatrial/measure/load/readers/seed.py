"""Figures in the field names of xllm-workflow: its `metrics.json` and its collector's rows.

The metrics file holds single values (`ttft_ms`), averages by evalscope's words; the collector's rows hold
`p50_ttft_ms`, `p99_tpot_ms` and the like, where a missing percentile was written as 0: read here as unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.measure.load.metrics import Metrics, Speculative, Spread
from seatrial.measure.load.readers.base import assemble, number, spread, whole

MARKS = {"output_tps", "evalscope_spec_accept_rate", "server_accept_rate", "requests_per_sec", "p99_ttft_ms"}


def knows(file: Path, data: Any) -> bool:
    return isinstance(data, dict) and bool(MARKS & set(data)) and "tool_version" not in data and "duration" not in data


def read(file: Path, data: Any) -> list[Metrics]:
    accepted = whole(data, "speculative_num_accepted_tokens_delta")
    drafted = whole(data, "speculative_num_draft_tokens_delta")
    weak = number(data, "evalscope_spec_accept_rate")
    per_iteration = number(data, "evalscope_decoded_tok_per_iter")
    speculative = None
    if any(v is not None for v in (accepted, drafted, weak, per_iteration)):
        rate = accepted / drafted if accepted is not None and drafted else number(data, "server_accept_rate")
        speculative = Speculative(
            accepted=accepted,
            drafted=drafted,
            accept_rate=rate,
            tokens_per_iteration=per_iteration,
            client_accept_rate=weak,
            note="tokens per iteration and the client's rate are evalscope's: weak",
        )
    success, total = whole(data, "success"), whole(data, "total", "number")
    return [
        assemble(
            "seed",
            total=total,
            success=success,
            failed=total - success if total is not None and success is not None else whole(data, "failed"),
            duration_s=None,
            input_tokens=None,
            output_tokens=None,
            request_throughput=number(data, "request_throughput", "requests_per_sec", "qps", missing=0.0),
            output_throughput=number(data, "output_tps", "output_tokens_per_sec", missing=0.0),
            total_throughput=number(data, "total_tokens_per_sec", missing=0.0),
            concurrency=whole(data, "parallel") or None,
            warmup=whole(data, "warmup_num"),
            speculative=speculative,
            ttft_ms=_latency(data, "ttft"),
            tpot_ms=_latency(data, "tpot"),
            itl_ms=_latency(data, "itl"),
            e2e_ms=_latency(data, "latency"),
            missing="not among the fields of this format, or 0 there, which it writes for missing",
        )
    ]


def _latency(data: Any, name: str) -> Spread | None:
    average = number(data, f"{name}_ms", f"avg_{name}_ms", missing=0.0)
    return spread(avg=average, **{p: number(data, f"{p}_{name}_ms", missing=0.0) for p in ("p50", "p90", "p99")})
