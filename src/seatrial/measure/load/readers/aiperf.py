"""AIPerf's `profile_export_aiperf.json` (and GenAI-Perf's, whose shape it keeps): a table per metric, with its unit.

Its `inter_token_latency` is (request latency - TTFT) / (tokens - 1): TPOT. Its `inter_chunk_latency` is ITL. Times may
come in ns, us, ms or sec; the unit beside each figure decides, and an unknown unit makes the figure unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.measure.load.readers.base import assemble, number, scaled, spread, whole

TO_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3, "seconds": 1e3, "milliseconds": 1.0}
FIGURES = {
    "ttft_ms": "time_to_first_token",
    "tpot_ms": "inter_token_latency",
    "itl_ms": "inter_chunk_latency",
    "e2e_ms": "request_latency",
}


def knows(file: Path, data: Any) -> bool:
    return (
        isinstance(data, dict) and isinstance(data.get("request_latency"), dict) and "unit" in data["request_latency"]
    )


def read(file: Path, data: Any) -> list[Metrics]:
    done = _count(data, "request_count", "completed_request_count")
    bad = _count(data, "error_request_count")
    if bad is None and isinstance(data.get("error_summary"), list):
        # A row whose count is none leaves the sum unknown.
        counts = [whole(row, "count") for row in data["error_summary"]]
        bad = None if None in counts else sum(c or 0 for c in counts)
    cancelled = data.get("was_cancelled") is True or data.get("is_complete") is False
    warmup, load = _phases(data)
    units = [f"{key}: unknown unit {data[key].get('unit')!r}" for key in FIGURES.values() if _unit(data, key) is None]
    counted, usage = _count(data, "total_osl", "total_output_tokens"), _count(data, "total_usage_completion_tokens")
    if counted is not None and usage is not None and abs(counted - usage) > 0.01 * max(1, usage):
        # It encodes the answers' text again; TPOT and token throughput rest on that count.
        units.append(f"it counted {counted} output tokens, the server {usage}: TPOT and tokens/s follow its own count")
    latencies: dict[str, Any] = {name: _latency(data, key) for name, key in FIGURES.items()}
    return [
        assemble(
            "aiperf",
            version=str(data.get("aiperf_version") or ""),
            partial="it was cancelled" if cancelled else "",
            total=done + bad if done is not None and bad is not None else None,
            success=done,
            failed=bad,
            duration_s=scaled(_value(data, "benchmark_duration"), _seconds(data, "benchmark_duration")),
            input_tokens=_count(data, "total_isl"),
            output_tokens=counted,
            request_throughput=_value(data, "request_throughput"),
            output_throughput=_value(data, "output_token_throughput"),
            total_throughput=_value(data, "total_token_throughput"),
            concurrency=whole(load, "concurrency") or None,
            rate=number(load, "request_rate", "rate"),
            warmup=warmup,
            doubts=units,
            notes=("output tokens are counted by AIPerf's tokenizer",),
            **latencies,
        )
    ]


def _phases(data: dict[str, Any]) -> tuple[int | None, Any]:
    """The warm-up's number of requests and the measured phase's settings: `phases` (0.13), `loadgen` before that."""
    config = data.get("input_config")
    if not isinstance(config, dict):
        return None, None
    if isinstance(config.get("phases"), list):
        phases = [p for p in config["phases"] if isinstance(p, dict)]
        warm = [whole(p, "requests") for p in phases if p.get("kind") == "warmup"]
        load = next((p for p in phases if p.get("kind") == "profiling"), None)
        return (None if None in warm else sum(w or 0 for w in warm)), load
    loadgen = config.get("loadgen")
    return whole(loadgen, "warmup_request_count"), loadgen


def _value(data: dict[str, Any], name: str) -> float | None:
    return number(data.get(name), "avg")


def _count(data: dict[str, Any], *names: str) -> int | None:
    found = next((v for v in (_value(data, n) for n in names) if v is not None and v >= 0), None)
    return int(found) if found is not None else None


def _unit(data: dict[str, Any], name: str) -> float | None:
    """The factor to milliseconds; 1.0 for a metric that is not there."""
    table = data.get(name)
    return TO_MS.get(str(table.get("unit")).lower()) if isinstance(table, dict) else 1.0


def _seconds(data: dict[str, Any], name: str) -> float:
    return (_unit(data, name) or 1e3) / 1e3


def _latency(data: dict[str, Any], name: str) -> Spread | None:
    factor = _unit(data, name)
    table = data.get(name)
    if factor is None or not isinstance(table, dict):
        return None
    return spread(**{k: scaled(number(table, k), factor) for k in ("avg", "p50", "p90", "p99", "min", "max")})
