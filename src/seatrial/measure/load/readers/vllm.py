"""The file of `vllm bench serve --save-result`: flat keys, milliseconds, percentiles only as asked for.

`mean_ttft_ms`, `median_ttft_ms`, `p99_ttft_ms`, the same for tpot, itl and e2el; keys of vLLM 0.6 to 0.32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.measure.load.metrics import Metrics, Speculative, Spread
from seatrial.measure.load.readers.base import assemble, number, spread, whole


def knows(file: Path, data: Any) -> bool:
    return isinstance(data, dict) and {"completed", "duration", "request_throughput"} <= set(data)


def read(file: Path, data: Any) -> list[Metrics]:
    asked = whole(data, "num_prompts")
    success = whole(data, "completed")
    failed = whole(data, "failed")
    if failed is None and asked is not None and success is not None:
        failed = asked - success
    told = data.get("errors")
    errors = [e for e in told if isinstance(e, str) and e] if isinstance(told, list) else []
    drafted = whole(data, "spec_decode_draft_tokens")
    accepted = whole(data, "spec_decode_accepted_tokens")
    speculative = None
    if drafted:
        speculative = Speculative(
            accepted=accepted,
            drafted=drafted,
            drafts=whole(data, "spec_decode_num_drafts"),
            accept_rate=accepted / drafted if accepted is not None else None,
            tokens_per_iteration=number(data, "spec_decode_acceptance_length"),
        )
    return [
        assemble(
            "vllm",
            version=str(data.get("vllm_version") or ""),
            total=asked if asked is not None else success,
            success=success,
            failed=failed,
            duration_s=number(data, "duration"),
            input_tokens=whole(data, "total_input_tokens"),
            output_tokens=whole(data, "total_output_tokens"),
            request_throughput=number(data, "request_throughput"),
            output_throughput=number(data, "output_throughput"),
            total_throughput=number(data, "total_token_throughput"),
            concurrency=whole(data, "max_concurrency"),
            rate=number(data, "request_rate"),
            warmup=whole(data, "num_warmups"),
            speculative=speculative,
            errors={"; ".join(sorted(set(errors))[:3])[:300]: len(errors)} if errors else {},
            missing="not among the figures that vllm bench serve was asked for",
            ttft_ms=_latency(data, "ttft"),
            tpot_ms=_latency(data, "tpot"),
            itl_ms=_latency(data, "itl"),
            e2e_ms=_latency(data, "e2el"),
        )
    ]


def _latency(data: Any, name: str) -> Spread | None:
    found = {p: number(data, f"{p}_{name}_ms") for p in ("p50", "p90", "p99")}
    found["p50"] = found["p50"] if found["p50"] is not None else number(data, f"median_{name}_ms")
    average = number(data, f"mean_{name}_ms")
    if average == 0.0 and not any(found.values()):
        # numpy's mean of nothing is written as 0 by vLLM ("or 0").
        return None
    return spread(avg=average, **found)
