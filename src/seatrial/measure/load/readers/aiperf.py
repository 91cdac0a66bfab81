"""AIPerf's `profile_export_aiperf.json` (and GenAI-Perf's, whose shape it keeps): a table per metric, with its unit.

Its `inter_token_latency` is (request latency - TTFT) / (tokens - 1): TPOT. Its `inter_chunk_latency` is ITL. Times may
come in ns, us, ms or sec; the unit beside each figure decides, and an unknown unit makes the figure unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.measure.load.readers.base import assemble, number, scaled, spread

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
        bad = sum(int(e.get("count") or 0) for e in data["error_summary"] if isinstance(e, dict))
    cancelled = data.get("was_cancelled") is True or data.get("is_complete") is False
    loadgen = (data.get("input_config") or {}).get("loadgen") if isinstance(data.get("input_config"), dict) else None
    units = [f"{key}: unknown unit {data[key].get('unit')!r}" for key in FIGURES.values() if _unit(data, key) is None]
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
            output_tokens=_count(data, "total_osl", "total_output_tokens"),
            request_throughput=_value(data, "request_throughput"),
            output_throughput=_value(data, "output_token_throughput"),
            total_throughput=_value(data, "total_token_throughput"),
            concurrency=int(c) if (c := number(loadgen, "concurrency")) else None,
            rate=number(loadgen, "request_rate"),
            warmup=int(w) if (w := number(loadgen, "warmup_request_count")) is not None else None,
            doubts=units,
            **latencies,
        )
    ]


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
