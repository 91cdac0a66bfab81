"""What the readers share: bounded reading, numbers that may be missing, and `Metrics` put together from parts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record
from seatrial.measure.load.metrics import SCHEMA_VERSION, Metrics, Speculative, Spread, Tool

LARGEST = 256 << 20
MOST = 1e15  # beyond it a figure of any of these tools is none; whole numbers of JSON may be longer than a float
FAR = 1.5  # tools differ in when their clock starts and ends; a unit or another run is further off
NEEDED = (
    "total",
    "success",
    "failed",
    "duration_s",
    "input_tokens",
    "output_tokens",
    "request_throughput",
    "output_throughput",
    "total_throughput",
    "ttft_ms",
    "tpot_ms",
    "itl_ms",
    "e2e_ms",
)


class Read(Record):
    """One result and the file it was read from."""

    file: str
    metrics: Metrics


def document(file: Path) -> Any:
    """A JSON file as plain data; NaN and Infinity, which Python tools write, are None."""
    try:
        if file.stat().st_size > LARGEST:
            raise FileFormatError(f"{file}: larger than {LARGEST >> 20} MiB")
        data = read_plain(file, limit=LARGEST)
        return json.loads(data, parse_constant=lambda _: None, object_pairs_hook=_once)
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise FileFormatError(
            f"{file}: not whole JSON: {exc}", mend="Run the tool again; half a file is none."
        ) from exc


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says one thing of each name; two figures of one name would be decided by their order."""
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(n for n, number in times.items() if number > 1)[:60]!r} is there twice")
    return found


def number(table: Any, *keys: str, missing: float | None = None) -> float | None:
    """The first of `keys` that holds a finite number. Text such as "N/A" and the value `missing` are unknown."""
    if not isinstance(table, Mapping):
        return None
    for key in keys:
        value = table.get(key)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -MOST <= value <= MOST:
            continue
        if missing is not None and value == missing:
            continue
        return float(value)
    return None


def whole(table: Any, *keys: str) -> int | None:
    """As `number`, for counts: never negative."""
    value = number(table, *keys)
    return int(value) if value is not None and value >= 0 else None


def scaled(value: float | None, factor: float) -> float | None:
    return value * factor if value is not None else None


def spread(**parts: float | None) -> Spread | None:
    """A spread of the parts that are known; None if none is. A negative time is no time, and nothing but 0 is none."""
    known = {k: v for k, v in parts.items() if v is not None and v >= 0}
    return Spread(**known) if any(known.values()) else None  # type: ignore[arg-type]


def assemble(
    tool: Tool,
    *,
    version: str = "",
    partial: str = "",
    missing: str = "",
    notes: Iterable[str] = (),
    doubts: Iterable[str] = (),
    speculative: Speculative | None = None,
    errors: dict[str, int] | None = None,
    warmup: int | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    **figures: Any,
) -> Metrics:
    """Metrics whose absent figures are named as unknown. `missing` is the reason given for them."""
    whole_set = {name: figures.get(name) for name in NEEDED}
    unknown = {name: missing or f"{tool} does not give it" for name, value in whole_set.items() if value is None}
    found = list(doubts)
    if whole_set["success"] == 0:
        partial = partial or "no request was answered"
        # What a tool prints as latency or throughput of nothing is no measurement.
        empty = ("request_throughput", "output_throughput", "total_throughput")
        for name in (*empty, "ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
            whole_set[name] = None
            unknown[name] = "no request was answered"
    if warmup == 0:
        found.append("no warm-up: a cold start")
    elif warmup is None:
        found.append("how many requests warmed up is unknown")
    if whole_set["failed"]:
        found.append(f"{whole_set['failed']} of {whole_set['total']} requests failed")
    for name in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        found.extend(_disordered(name, whole_set[name]))
    found.extend(_unequal(whole_set))
    return Metrics(
        schema_version=SCHEMA_VERSION,
        tool=tool,
        tool_version=version,
        is_complete=not partial,
        partial=partial,
        warmup=warmup,
        concurrency=concurrency,
        rate=rate,
        speculative=speculative,
        errors=errors or {},
        unknown=unknown,
        doubts=tuple(found),
        notes=tuple(notes),
        **whole_set,
    )


def _disordered(name: str, values: Spread | None) -> list[str]:
    """Percentiles that fall as they should rise: columns mixed up, or units."""
    if values is None:
        return []
    known = [v for v in (values.min, values.p50, values.p90, values.p99, values.max) if v is not None]
    if any(b < a * (1 - 1e-9) for a, b in pairwise(known)):
        return [f"{name}: its percentiles fall instead of rising, so columns or units are mixed up"]
    if values.avg is not None and known and values.max is not None and values.avg > values.max * (1 + 1e-9):
        return [f"{name}: its average is above its maximum, so columns or units are mixed up"]
    if values.avg and values.p50 and _is_other_unit(values.avg / values.p50, name):
        return [f"{name}: average {values.avg:g} and median {values.p50:g} differ by a unit"]
    return []


def _unequal(figures: Mapping[str, Any]) -> list[str]:
    """Throughputs that their own counts and duration contradict: another unit, or parts of two runs."""
    found = []
    pairs = (("request_throughput", "success"), ("output_throughput", "output_tokens"))
    for name, count in pairs:
        told, amount, duration = figures[name], figures[count], figures["duration_s"]
        if told and amount and duration and not 1 / FAR < told * duration / amount < FAR:
            found.append(f"{name} is {told:g}, but {amount} in {duration:g} s are {amount / duration:g}")
    return found


def _is_other_unit(ratio: float, name: str) -> bool:
    """Within half a power of ten of a thousand, a million or their inverses.

    The median gap between pieces may be next to nothing beside the average: pieces that came together are read at once.
    """
    power = math.log10(ratio)
    powers = (-6, -3) if name == "itl_ms" else (-6, -3, 3, 6)
    return any(abs(power - p) < 0.5 for p in powers)
