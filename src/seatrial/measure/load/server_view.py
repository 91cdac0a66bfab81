"""What a server's own counters say of a run: the latencies it saw itself, and how many requests it served.

In: texts of its metrics pages before and after. Out: `ServerView`, or None where it has no such counters. Two clients
that disagree are told apart by it: what the server saw is the same clock for both. It also shows requests that were not
ours: a service that others use while it is measured is no measured service.
Names: vLLM 0.32 (v1/metrics/loggers.py), SGLang (srt/observability/metrics_collector.py), xLLM 0.9.1
(core/common/metrics.cpp; its latencies are windows of ten seconds without a sum, so only its count is read).
"""

from __future__ import annotations

from seatrial.core.record import Record, to_plain
from seatrial.measure.load.counters import GAUGE, counter
from seatrial.measure.load.counters import NAMES as SPECULATIVE
from seatrial.measure.load.generator import LoadRun
from seatrial.measure.load.metrics import ServerView


class _Names(Record):
    """A server's names; a latency's are those of a histogram with `_sum` and `_count`, in seconds."""

    requests: str
    ttft: str = ""
    e2e: str = ""
    tpot: str = ""
    queue: str = ""
    cached: str = ""
    looked_up: str = ""


NAMES = (
    _Names(
        requests="vllm:request_success_total",
        ttft="vllm:time_to_first_token_seconds",
        e2e="vllm:e2e_request_latency_seconds",
        tpot="vllm:request_time_per_output_token_seconds",
        queue="vllm:request_queue_time_seconds",
        cached="vllm:prefix_cache_hits_total",
        looked_up="vllm:prefix_cache_queries_total",
    ),
    _Names(
        requests="sglang:num_requests_total",
        ttft="sglang:time_to_first_token_seconds",
        e2e="sglang:e2e_request_latency_seconds",
        queue="sglang:queue_time_seconds",
        cached="sglang:cached_tokens_total",
        looked_up="sglang:prompt_tokens_total",
    ),
    _Names(requests="server_request_total_ok"),
)


def counter_lines(page: str) -> tuple[str, ...]:
    """The lines of a page that any figure or doubt is made of, to be kept; not the buckets of histograms.

    The first line says that there was a page: a counter that is not on it stood at nothing.
    """
    names = [*(n for each in SPECULATIVE for n in each), GAUGE]
    names += [str(name) for each in NAMES for name in to_plain(each).values()]
    wanted = tuple(n for n in names if n)
    lines = [x for x in page.splitlines() if x.startswith(wanted) and "_bucket{" not in x]
    return ("# a page of counters", *lines) if page.strip() else ()


def server_view(before: str, after: str) -> ServerView | None:
    """From two pages. A counter that ran backwards is a server that was restarted: nothing is made of it."""
    names = next((n for n in NAMES if counter(after, n.requests) is not None), None)
    if names is None:
        return None
    requests = _grown(before, after, names.requests)
    if requests is None or requests < 0:
        return ServerView(note="the server's counters ran backwards or are missing before: was it restarted?")
    return ServerView(
        requests=requests,
        ttft_ms=_mean_ms(before, after, names.ttft),
        e2e_ms=_mean_ms(before, after, names.e2e),
        tpot_ms=_mean_ms(before, after, names.tpot),
        queue_ms=_mean_ms(before, after, names.queue),
        cached=_share(before, after, names),
    )


def foreign_requests(before: str, after: str, run: LoadRun) -> tuple[str, ...]:
    """A doubt where the server finished more requests than this run sent it. `before`: ahead of the warm-up."""
    view = server_view(before, after)
    if view is None or view.requests is None:
        return ()
    # A request that was sent again may have been served twice.
    ours = len(run.records) + sum(r.resent for r in run.records)
    if view.requests <= ours:
        return ()
    return (f"the server finished {view.requests:.0f} requests while {ours} were sent from here: others used it too",)


def _grown(before: str, after: str, name: str) -> float | None:
    """How much a counter grew. One that is not there before, on a page that is, began at nothing."""
    last = counter(after, name)
    first = counter(before, name)
    if last is None or (first is None and not before):
        return None
    return last - (first or 0.0)


def _share(before: str, after: str, names: _Names) -> float | None:
    """Both count tokens. A counter of hits that never appeared stands at nothing."""
    if not names.cached:
        return None
    looked_up, cached = _grown(before, after, names.looked_up), _grown(before, after, names.cached)
    if not looked_up or looked_up < 0 or (cached or 0.0) < 0:
        return None
    return min(1.0, (cached or 0.0) / looked_up)


def _mean_ms(before: str, after: str, name: str) -> float | None:
    if not name:
        return None
    total, count = _grown(before, after, f"{name}_sum"), _grown(before, after, f"{name}_count")
    if total is None or not count or count < 0 or total < 0:
        return None
    return total / count * 1000
