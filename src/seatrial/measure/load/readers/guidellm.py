"""GuideLLM's `benchmarks.json`: one result a strategy, each metric by status with mean, median and percentiles.

Its `inter_token_latency_ms` is a mean per request from the first to the last token: that is TPOT. Its own
`time_per_output_token_ms` divides the whole time by all tokens, first included, and has no place here. Gaps between
pieces (ITL) are not in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.measure.load.readers.base import assemble, number, scaled, spread, whole


def knows(file: Path, data: Any) -> bool:
    runs = data.get("benchmarks") if isinstance(data, dict) else None
    return isinstance(runs, list) and all(isinstance(r, dict) and "metrics" in r for r in runs) and bool(runs)


def read(file: Path, data: Any) -> list[Metrics]:
    about = data.get("metadata")
    version = str(about.get("guidellm_version") or "") if isinstance(about, dict) else ""
    return [_one(run, version) for run in data["benchmarks"]]


def _one(run: dict[str, Any], version: str) -> Metrics:
    metrics = run["metrics"] if isinstance(run["metrics"], dict) else {}
    totals = metrics.get("request_totals")
    incomplete = whole(totals, "incomplete")
    strategy = _strategy(run)
    first = _latency(metrics, "time_to_first_token_ms", 1.0)
    doubts = [f"{incomplete} requests were cut off at the end"] if incomplete else []
    made, told = whole(run.get("scheduler_state"), "created_requests"), whole(totals, "total")
    if made is not None and told is not None and made > told:
        # Seen of 0.8.1 at a rate: it ends while a request is still under way, and counts it nowhere.
        doubts.append(f"{made} requests were made and {told} are accounted for")
    return assemble(
        "guidellm",
        version=version,
        total=whole(totals, "total"),
        success=whole(totals, "successful"),
        failed=whole(totals, "errored"),
        duration_s=number(run, "duration"),
        input_tokens=_sum(metrics, "prompt_token_count"),
        output_tokens=_sum(metrics, "output_token_count"),
        request_throughput=number(_good(metrics, "requests_per_second"), "mean"),
        output_throughput=number(_good(metrics, "output_tokens_per_second"), "mean"),
        total_throughput=number(_good(metrics, "tokens_per_second"), "mean"),
        concurrency=whole(strategy, "streams", "max_concurrency"),
        rate=number(strategy, "rate"),
        warmup=_warmup(run),
        ttft_ms=first,
        # Without a stream it fills this with zeros, and TTFT with nothing.
        tpot_ms=_latency(metrics, "inter_token_latency_ms", 1.0) if first is not None else None,
        itl_ms=None,
        e2e_ms=_latency(metrics, "request_latency", 1e3),
        doubts=doubts,
        notes=("TPOT is GuideLLM's inter_token_latency_ms (a mean per request, the first token left out)",),
    )


def _strategy(run: dict[str, Any]) -> Any:
    for place in (run.get("config"), run.get("args"), run.get("scheduler"), run):
        if isinstance(place, dict) and isinstance(place.get("strategy"), dict):
            return place["strategy"]
    return None


def _warmup(run: dict[str, Any]) -> int | None:
    """0 where the configuration says there was none; how many requests a share or a time came to is not in the file."""
    config = run.get("config")
    table = config.get("warmup") if isinstance(config, dict) else None
    if isinstance(table, dict) and table.get("percent") is None and table.get("value") is None:
        return 0
    return None


def _good(metrics: dict[str, Any], name: str) -> Any:
    table = metrics.get(name)
    return table.get("successful") if isinstance(table, dict) else None


def _sum(metrics: dict[str, Any], name: str) -> int | None:
    return whole(_good(metrics, name), "total_sum")


def _latency(metrics: dict[str, Any], name: str, factor: float) -> Spread | None:
    table = _good(metrics, name)
    # A summary of nothing is all zeros.
    if number(table, "count") == 0:
        return None
    percentiles = table.get("percentiles") if isinstance(table, dict) else None
    parts = {
        "avg": number(table, "mean"),
        "p50": number(percentiles, "p50") or number(table, "median"),
        "p90": number(percentiles, "p90"),
        "p99": number(percentiles, "p99"),
        "min": number(table, "min"),
        "max": number(table, "max"),
    }
    return spread(**{k: scaled(v, factor) for k, v in parts.items()})
