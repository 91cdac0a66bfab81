"""Does a run hold its service level? A figure that is not known neither holds nor breaks it: inconclusive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from seatrial.core.errors import UsageError
from seatrial.core.verdict import Outcome, failed, inconclusive, not_applicable, passed
from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.measure.load.workload import Sla, SlaMetric, Statistic

RULE = re.compile(
    rf"\s*(?P<metric>{'|'.join(get_args(SlaMetric))})\s+(?P<statistic>{'|'.join(get_args(Statistic))})"
    r"\s*<=\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>ms|s)\s*"
)


def figure(metrics: Metrics, metric: str, statistic: str) -> float | None:
    """`ttft`, `p99` and the like from the figures, in milliseconds; None where it is not known."""
    spread: Spread | None = getattr(metrics, f"{metric}_ms")
    return getattr(spread, statistic) if spread is not None else None


def written(text: str) -> str:
    """`ttft p99<=0.5s; tpot p50 <= 50 ms` as the setup of a run has it; raises UsageError for what is none."""
    rules = []
    for part in text.split(";") if text.strip() else ():
        found = RULE.fullmatch(part)
        limit = float(found["limit"]) * (1000 if found["unit"] == "s" else 1) if found else 0.0
        if found is None or not 0 < limit < 1e12:
            raise UsageError(
                f"{part.strip()!r} is no service level",
                mend="Write it as 'ttft p99 <= 500 ms', several with a semicolon between them.",
            )
        metric = next(m for m in get_args(SlaMetric) if m == found["metric"])
        statistic = next(s for s in get_args(Statistic) if s == found["statistic"])
        rules.append(Sla(metric=metric, limit_ms=limit, statistic=statistic))
    return "; ".join(sorted(rule.name() for rule in rules))


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
