"""What an engine really reported at start-up, read from its log, beside the estimate: the error of every bucket.

In: the log's text, a plan of the same configuration. Out: `Readings` and `Comparison`s; from them the `Calibration` for
the target. Spellings of vLLM 0.15 to 0.32 and vllm-ascend are read; what is not in the log stays unknown. Figures
printed
with two decimals carry their rounding: a difference within it is no error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seatrial.core.record import Record
from seatrial.estimate.calibrate import Calibration, Learnt
from seatrial.estimate.plan import Plan

GIB = 1024**3
MOST_BYTES = 64 * 1024 * 1024
WEIGHTS = re.compile(r"(?:Model loading took|Loading model weights took) ([\d.]{1,12}) ?(?:GiB|GB)")
AVAILABLE = re.compile(r"Available KV cache memory: (-?[\d.]{1,12}) ?GiB")
CPU_SET = re.compile(r"(?:Auto|Explicitly) set \(([\d.]{1,12})/([\d.]{1,12})\) GiB for KV cache")
CPU_USED = re.compile(r"([\d.]{1,12}) GiB memory was consumed by non-kv usages")
TOKENS = re.compile(r"(?:GPU|CPU|NPU|CUDA|[A-Z]{3,8}) KV cache size: ([\d,]{1,20}) tokens")
CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]{1,20}) tokens per request: ([\d.]{1,16})x")
GRAPHS = re.compile(r"Graph capturing finished in [\d.]{1,12} secs?, took (-?[\d.]{1,12}) GiB")
ACTIVATION = re.compile(r"([\d.]{1,12}) GiB for peak activation")
NON_TORCH = re.compile(r"([\d.]{1,12}) ?GiB for non-torch|non_torch_memory takes ([\d.]{1,12}) ?GiB")


FIGURES = ("weights", "for_kv", "non_kv", "activations", "runtime", "graphs", "tokens", "length", "concurrency")


class Reading(Record):
    """A figure of the log: its value, the most its printed form can be off, the line's number (from 1)."""

    value: float
    rounding: float
    line: int


class Readings(Record):
    """Bytes per device but for `tokens`, `length` and `concurrency`; None where the log does not say."""

    weights: Reading | None = None
    for_kv: Reading | None = None
    non_kv: Reading | None = None
    activations: Reading | None = None
    runtime: Reading | None = None
    graphs: Reading | None = None
    tokens: Reading | None = None
    length: Reading | None = None
    concurrency: Reading | None = None

    def any(self) -> bool:
        return any(getattr(self, name) is not None for name in FIGURES)


class Comparison(Record):
    """One figure, estimated and reported; `error` relative to the reported one, None where one of them is unknown."""

    what: str
    estimated: float | None
    reported: float
    error: float | None
    within_rounding: bool
    line: int


def read_log(text: str) -> Readings:
    """The last figure of each kind; only the first 64 MiB are read."""
    found: dict[str, Reading] = {}
    for number, line in enumerate(text[:MOST_BYTES].splitlines(), start=1):
        if "GiB" not in line and "tokens" not in line and "GB" not in line:
            continue
        short = line[:2000]
        for figure in _figures(short):
            found[figure.name] = Reading(value=figure.value, rounding=figure.rounding, line=number)
    return Readings(**found)


class _Figure(Record):
    name: str
    value: float
    rounding: float


def _figures(line: str) -> list[_Figure]:
    out: list[_Figure] = []

    def size(name: str, match: re.Match[str] | None) -> None:
        text = next((g for g in match.groups() if g), None) if match else None
        if text is not None:
            decimals = len(text.partition(".")[2])
            out.append(_Figure(name=name, value=float(text) * GIB, rounding=0.5 * 10**-decimals * GIB))

    size("weights", WEIGHTS.search(line))
    size("for_kv", AVAILABLE.search(line) or CPU_SET.search(line))
    size("non_kv", CPU_USED.search(line))
    size("graphs", GRAPHS.search(line))
    size("activations", ACTIVATION.search(line))
    size("runtime", NON_TORCH.search(line))
    if match := TOKENS.search(line):
        out.append(_Figure(name="tokens", value=float(match[1].replace(",", "")), rounding=0.0))
    if match := CONCURRENCY.search(line):
        out.append(_Figure(name="length", value=float(match[1].replace(",", "")), rounding=0.0))
        out.append(_Figure(name="concurrency", value=float(match[2]), rounding=0.005))
    return out


def compare(readings: Readings, plan: Plan) -> tuple[Comparison, ...]:
    """Every figure of the log beside the plan's."""
    mine: dict[str, float | None] = {"length": plan.asked.length}
    if plan.memory is not None:
        amounts = {b.name: b.amount.value for b in plan.memory.buckets}
        mine |= {"weights": amounts.get("weights"), "activations": amounts.get("activations")}
        mine |= {"graphs": amounts.get("graphs"), "runtime": amounts.get("runtime")}
        mine["for_kv"] = plan.memory.for_kv
    if plan.capacity is not None:
        mine |= {"tokens": plan.capacity.tokens, "concurrency": plan.capacity.concurrency}
    rows: list[Comparison] = []
    for name in FIGURES:
        reading: Reading | None = getattr(readings, name)
        if reading is None:
            continue
        value = mine.get(name)
        error = None if value is None or not reading.value else value / reading.value - 1
        rows.append(
            Comparison(
                what=name, estimated=value, reported=reading.value, error=error, line=reading.line,
                within_rounding=value is not None and abs(value - reading.value) <= reading.rounding,
            )
        )  # fmt: skip
    return tuple(rows)


def learn(readings: Readings, plan: Plan, source: str, before: Calibration) -> Calibration:
    """What this log teaches: a factor for the activations, bytes for graphs and the runtime. Others stay as before."""
    formula = None
    if plan.memory is not None and before.activations is None:
        formula = next((b.amount.value for b in plan.memory.buckets if b.name == "activations"), None)
    activations = before.activations
    if readings.activations is not None and formula:
        activations = Learnt(
            value=readings.activations.value / formula, note=f"{source}, line {readings.activations.line}"
        )
    graphs = _amount(readings.graphs, source) or before.graphs
    runtime = _amount(readings.runtime, source)
    if runtime is None and readings.non_kv is not None and plan.memory is not None:
        known = sum(int(b.amount.value or 0) for b in plan.memory.buckets if b.name in ("weights", "activations"))
        left = readings.non_kv.value - known
        note = f"{source}, line {readings.non_kv.line}: all that is not KV, less weights and activations as estimated"
        runtime = Learnt(value=max(0.0, left), note=note)
    return Calibration(activations=activations, graphs=graphs, runtime=runtime or before.runtime)


def _amount(reading: Reading | None, source: str) -> Learnt | None:
    return None if reading is None else Learnt(value=max(0.0, reading.value), note=f"{source}, line {reading.line}")


def largest_error(rows: Sequence[Comparison]) -> float:
    """The largest relative error of all compared figures, those within rounding counted as none."""
    return max((abs(r.error) for r in rows if r.error is not None and not r.within_rounding), default=0.0)
