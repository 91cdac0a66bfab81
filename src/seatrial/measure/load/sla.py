"""Does a run hold its service level? A figure that is not known neither holds nor breaks it: inconclusive."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.core.verdict import Outcome, failed, inconclusive, not_applicable, passed
from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.measure.load.workload import Sla


def figure(metrics: Metrics, metric: str, statistic: str) -> float | None:
    """`ttft`, `p99` and the like from the figures, in milliseconds; None where it is not known."""
    spread: Spread | None = getattr(metrics, f"{metric}_ms")
    return getattr(spread, statistic) if spread is not None else None


def judge_sla(metrics: Metrics, sla: Sequence[Sla]) -> Outcome:
    """Failed requests break any service level: what they would have taken is not in the percentiles."""
    if not sla:
        return not_applicable("the workload names no service level")
    if metrics.success == 0:
        return failed("no request was answered")
    broken, unknown = [], []
    for rule in sla:
        value = figure(metrics, rule.metric, rule.statistic)
        if value is None:
            why = metrics.unknown.get(f"{rule.metric}_ms", f"{metrics.tool} does not give it")
            unknown.append(f"{rule.metric} {rule.statistic} is unknown ({why})")
        elif value > rule.limit_ms:
            broken.append(f"{rule.metric} {rule.statistic} is {value:.1f} ms, above {rule.limit_ms:g} ms")
    if not metrics.is_complete:
        # What was not seen would be in the percentiles too; a service that died says nothing of its level.
        return inconclusive(f"the run is partial: {metrics.partial}")
    if broken:
        return failed("; ".join(broken))
    if metrics.failed:
        return failed(f"{metrics.failed} of {metrics.total} requests failed")
    if metrics.failed is None:
        unknown.append("how many requests failed is unknown")
    return inconclusive("; ".join(unknown)) if unknown else passed()
