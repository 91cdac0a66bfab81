"""`--measured FILE`: figures of a run as the load `estimate` bounds.

In: `metrics.json` of `seatrial bench` (or a result of another tool that its readers know), or the short form of
`estimate.measured.Run`. Out: `Run`. Refuses a run that ended early and one without the token counts that a bound needs.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.estimate.measured import Run, read_run
from seatrial.measure.load.metrics import Metrics
from seatrial.measure.load.readers import read_results

# The short form is a page at most; a larger file is some tool's own.
SHORT_FORM = 1 << 20
NAMES = set(Run.__annotations__)


def measured_run(file: Path) -> Run:
    """The run that `file` holds; raises FileFormatError naming what is lacking."""
    if _is_short_form(file):
        return read_run(file)
    found = read_results(file)
    if len(found) != 1:
        raise FileFormatError(f"{file}: holds {len(found)} runs", mend="Name the metrics.json of one run.")
    return as_run(found[0].metrics, str(file))


def as_run(metrics: Metrics, where: str) -> Run:
    """Medians, mean lengths, and the mean number of requests that were decoding at once.

    That number is Little's law: output tokens per second times the mean seconds per token, rounded down, so that the
    bound stays one; at least 1, at most the load's own concurrency.
    """
    if not metrics.is_complete:
        raise FileFormatError(f"{where}: the run ended early ({metrics.partial}): no bound is compared with it")
    answered = metrics.success or 0
    lacking = [
        name
        for name, value in (("success", answered), ("input_tokens", metrics.input_tokens),
                            ("output_tokens", metrics.output_tokens))
        if not value
    ]  # fmt: skip
    if lacking or metrics.input_tokens is None or metrics.output_tokens is None:
        why = "; ".join(f"{n}: {metrics.unknown.get(n, 'unknown')}" for n in lacking)
        raise FileFormatError(f"{where}: {why}", mend="Measure with a server that gives usage.")
    rate, mean = metrics.output_throughput, metrics.tpot_ms.avg if metrics.tpot_ms else None
    batch = int(rate * mean / 1000) if rate and mean else 1
    ttft, tpot = metrics.ttft_ms, metrics.tpot_ms
    return Run(
        schema_version=1, batch=max(1, min(batch, metrics.concurrency or batch)),
        prompt=max(1, metrics.input_tokens // answered), output=max(1, metrics.output_tokens // answered),
        ttft_s=ttft.p50 / 1000 if ttft and ttft.p50 else None, tpot_s=tpot.p50 / 1000 if tpot and tpot.p50 else None,
        tokens_per_s=rate or None,
        note=f"{metrics.tool}: medians of {answered} requests, mean lengths; hits of a prefix cache are not known",
    )  # fmt: skip


def _is_short_form(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > SHORT_FORM:
        return False
    try:
        data = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True  # read_run then says what is wrong with it, naming the file
    return not isinstance(data, dict) or "batch" in data or set(data) <= NAMES
