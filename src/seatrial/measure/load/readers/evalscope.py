"""EvalScope's `benchmark_summary.json`, with `benchmark_percentile.json` and `benchmark_args.json` beside it.

Three generations of keys, read from the sources of 1.4.2, 1.6.0, 1.7.0 and 1.14.1: up to 1.6 the summary and the
percentiles are in seconds ("Average time to first token (s)", "TTFT (s)") and -1 stands for "not measured"; 1.7 has
"TTFT (ms)"; 1.14 "Avg TTFT (ms)". The unit is taken from the key, never guessed from the value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.measure.load.metrics import Metrics, Speculative, Spread
from seatrial.measure.load.readers.base import assemble, document, number, scaled, spread, whole

SUMMARY = "benchmark_summary.json"
MISSING = -1.0
# Average by key and factor to milliseconds; percentile by column and factor.
LATENCIES = {
    "ttft_ms": (
        (("Avg TTFT (ms)", 1.0), ("TTFT (ms)", 1.0), ("Average time to first token (s)", 1e3)),
        (("TTFT (ms)", 1.0), ("TTFT (s)", 1e3)),
    ),
    "tpot_ms": (
        (("Avg TPOT (ms)", 1.0), ("TPOT (ms)", 1.0), ("Average time per output token (s)", 1e3)),
        (("TPOT (ms)", 1.0), ("TPOT (s)", 1e3)),
    ),
    "itl_ms": (
        (("Avg ITL (ms)", 1.0), ("ITL (ms)", 1.0), ("Average inter-token latency (s)", 1e3)),
        (("ITL (ms)", 1.0), ("ITL (s)", 1e3)),
    ),
    "e2e_ms": ((("Avg Latency (s)", 1e3), ("Average latency (s)", 1e3)), (("Latency (s)", 1e3),)),
}


def knows(file: Path, data: Any) -> bool:
    keys = set(data) if isinstance(data, dict) else set()
    return bool(keys & {"Test Duration (s)", "Time taken for tests (s)"}) or file.name == SUMMARY


def read(file: Path, data: Any) -> list[Metrics]:
    """The summary; a missing or broken percentile file leaves the percentiles unknown."""
    rows, trouble = _beside(file, "benchmark_percentile.json")
    args, _ = _beside(file, "benchmark_args.json")
    table = {str(row.get("Percentiles")).rstrip("%"): row for row in rows or [] if isinstance(row, dict)}
    latencies: dict[str, Any] = {name: _latency(data, table, *keys) for name, keys in LATENCIES.items()}
    if whole(data, "Stream Requests") == 0:
        # Seen of 1.14.1: without a stream it writes the whole latency as TTFT, and 0 as TPOT and ITL.
        latencies.update(ttft_ms=None, tpot_ms=None, itl_ms=None)
    total = whole(data, "Total Requests", "Total requests")
    success = whole(data, "Success Requests", "Succeed requests")
    duration = number(data, "Test Duration (s)", "Time taken for tests (s)", missing=MISSING)
    given = number(data, "Avg Input Tokens", "Average input tokens per request", missing=MISSING)
    answered = number(data, "Avg Output Tokens", "Average output tokens per request", missing=MISSING)
    doubts = [f"percentiles are unknown: {trouble}"] if trouble else []
    per_iteration = number(data, "Avg Decoded Tok/Iter", "Decoded Tok/Iter", missing=MISSING)
    weak = number(data, "Spec. Accept Rate", missing=MISSING)
    speculative = None
    if per_iteration is not None or weak is not None:
        note = "from the number of pieces (1 - 1/L): weak, not accepted / drafted"
        speculative = Speculative(tokens_per_iteration=per_iteration, client_accept_rate=weak, note=note)
    rate = number(args, "rate", missing=MISSING)
    warmup = whole(args, "warmup_num", "warmup_number")
    if args is not None and warmup is None:
        # Versions without the option send no warm-up; those with it write it down.
        warmup = 0 if "parallel" in args else None
    return [
        assemble(
            "evalscope",
            total=total,
            success=success,
            failed=whole(data, "Failed Requests", "Failed requests"),
            duration_s=duration,
            input_tokens=round(given * success) if given is not None and success is not None else None,
            output_tokens=round(answered * success) if answered is not None and success is not None else None,
            request_throughput=number(data, "Req Throughput (req/s)", "Request throughput (req/s)", missing=MISSING),
            output_throughput=number(
                data, "Output Throughput (tok/s)", "Output token throughput (tok/s)", missing=MISSING
            ),
            total_throughput=number(
                data, "Total Throughput (tok/s)", "Total token throughput (tok/s)", missing=MISSING
            ),
            concurrency=whole(data, "Concurrency", "Number of concurrency") or None,
            rate=rate,
            warmup=warmup,
            speculative=speculative,
            doubts=doubts,
            notes=("token sums are averages times answered requests",),
            **latencies,
        )
    ]


def _beside(file: Path, name: str) -> tuple[Any, str]:
    """A file of the same run and why it cannot be used; ("", nothing wrong)."""
    from seatrial.core.errors import FileFormatError

    place = file.with_name(name)
    if not place.is_file():
        return None, f"{name} is missing"
    try:
        return document(place), ""
    except FileFormatError as exc:
        return None, exc.message


def _latency(data: Any, table: dict[str, Any], averages: Any, columns: Any) -> Spread | None:
    average = next(
        (v for v in (scaled(number(data, k, missing=MISSING), f) for k, f in averages) if v is not None), None
    )
    if average == 0.0:
        # Up to 1.6 a run without streaming counts its absent times as 0.
        average = None

    def at(percent: str) -> float | None:
        row = table.get(percent)
        return next(
            (v for v in (scaled(number(row, k, missing=MISSING), f) for k, f in columns) if v is not None), None
        )

    return spread(avg=average, p50=at("50"), p90=at("90"), p99=at("99"))
