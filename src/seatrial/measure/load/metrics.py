"""The one vocabulary of performance figures, whatever tool they come from: `metrics.json`.

Formulas are those of `vllm bench serve`, guidellm and aiperf: TTFT from before the request is handed to the client
(in an open loop: from when it was due) to the client's first sight of a piece of text; TPOT = (end of the
last piece - first) / (output tokens - 1); ITL the gaps between pieces; percentiles interpolate linearly. Pieces that
were read at one moment are one piece: there is no gap between them, and an answer that came in one piece shows no time
between tokens (where most came so, TPOT and ITL are unknown). Throughput is over the time from the first due request to
the last answer. A figure that is not known is absent, and `unknown` says why; it is never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from seatrial.core.record import Record
from seatrial.measure.load.generator import LoadRun
from seatrial.measure.load.records import RequestRecord, impossible

SCHEMA_VERSION = 1
Tool = Literal["builtin", "evalscope", "vllm", "guidellm", "aiperf", "seed"]
PERCENTILES = (50, 90, 99)
LATE_S, BUSY = 0.010, 0.95  # the generator's own p99 lateness and use of its core; beyond them it measured itself


class Spread(Record):
    """Milliseconds. `n` is how many values there were; None where the tool does not say."""

    avg: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    min: float | None = None
    max: float | None = None
    n: int | None = None


class Speculative(Record):
    """Speculative decoding. `accept_rate` = accepted / drafted from the server's own counters before and after.

    `tokens_per_iteration` and `client_accept_rate` are a tool's estimates from chunk counts: weak, never ranked by.
    """

    accepted: float | None = None
    drafted: float | None = None
    drafts: float | None = None
    accept_rate: float | None = None
    tokens_per_iteration: float | None = None
    client_accept_rate: float | None = None
    note: str = ""


class ServerView(Record):
    """What the server's own counters say of the measured requests: means in milliseconds, counts.

    `ttft_ms` and `e2e_ms` run from when the server had read the request until it had made the token, so that what the
    client and the way add is the difference to the client's mean. `cached` is the share of the prompts' tokens that the
    prefix cache answered. None where the server does not count it.
    """

    requests: float | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    tpot_ms: float | None = None
    queue_ms: float | None = None
    cached: float | None = None
    note: str = ""


class Metrics(Record):
    """Throughput per second; latencies in `Spread`s; token counts are sums over answered requests.

    `is_complete` is false for a run that ended early (`partial` says why): its figures are of what was seen and are
    never compared. `unknown`: name of a figure to the reason why it is absent. `doubts` make a run unfit for a formal
    comparison without making it wrong.
    """

    schema_version: int
    tool: Tool
    tool_version: str
    is_complete: bool
    partial: str
    total: int | None
    success: int | None
    failed: int | None
    warmup: int | None
    concurrency: int | None
    rate: float | None
    duration_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    request_throughput: float | None
    output_throughput: float | None
    total_throughput: float | None
    ttft_ms: Spread | None
    tpot_ms: Spread | None
    itl_ms: Spread | None
    e2e_ms: Spread | None
    speculative: Speculative | None = None
    server: ServerView | None = None
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    unknown: dict[str, str] = msgspec.field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Linear interpolation between the nearest ranks (numpy's default); `ordered` is sorted and not empty."""
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread_ms(seconds: Sequence[float]) -> Spread | None:
    """A spread of times given in seconds; None for none."""
    if not seconds:
        return None
    ordered = sorted(s * 1000 for s in seconds)
    p50, p90, p99 = (percentile(ordered, p) for p in PERCENTILES)
    return Spread(
        avg=sum(ordered) / len(ordered), p50=p50, p90=p90, p99=p99, min=ordered[0], max=ordered[-1], n=len(ordered)
    )


def measure(
    run: LoadRun,
    *,
    concurrency: int,
    rate: float,
    stream: bool,
    exact_length: bool,
    speculative: Speculative | None,
    server: ServerView | None = None,
) -> Metrics:
    """The figures of a run of the built-in generator. `exact_length`: every answer should be as long as asked for."""
    seen = [r for r in run.records if not r.warmup]
    good = [r for r in seen if r.how == "ok"]
    unknown: dict[str, str] = {}
    notes: list[str] = []
    doubts = _doubts(run, seen, good, exact_length)
    if not good:
        why = "no request was answered"
        unknown.update(dict.fromkeys(("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "request_throughput"), why))
    span = max((r.end_s for r in good), default=0.0) - min((r.intended_s for r in seen), default=0.0)
    counted = all(r.output_tokens is not None for r in good) and bool(good)
    prompts = all(r.prompt_tokens is not None for r in good) and bool(good)
    output = sum(r.output_tokens or 0 for r in good) if counted else None
    given = sum(r.prompt_tokens or 0 for r in good) if prompts else None
    if good and output is None:
        unknown["output_tokens"] = unknown["output_throughput"] = unknown["tpot_ms"] = "the server gave no usage"
    if good and given is None:
        unknown["input_tokens"] = "the server gave no usage"
    if good and (given is None or output is None):
        unknown["total_throughput"] = "the server gave no usage"
    ttft = tpot = itl = None
    if stream:
        ttft = spread_ms([r.first_s - r.intended_s for r in good if r.first_s is not None])
        several = [r for r in good if r.asked_tokens > 1]
        parted = [r for r in several if len(set(r.chunks_s)) > 1]
        if len(parted) * 2 >= len(several):
            itl = spread_ms([b - a for r in parted for a, b in pairwise(sorted(set(r.chunks_s)))])
            tpot = spread_ms(_tpots(parted)) if counted else None
        notes += _about_pieces(good, output)
        if len(parted) < len(several):
            notes.append(
                f"{len(several) - len(parted)} of {len(several)} answers came all at one moment: no TPOT of them"
            )
        why = "too few answers came in more than one piece" if several else "no answer had more than one token"
        if good and tpot is None and "tpot_ms" not in unknown:
            unknown["tpot_ms"] = why
        if good and itl is None:
            unknown["itl_ms"] = why
    elif good:
        unknown.update(dict.fromkeys(("ttft_ms", "tpot_ms", "itl_ms"), "the answers were not streamed"))
    valid = span > 0 and bool(good)
    return Metrics(
        schema_version=SCHEMA_VERSION,
        tool="builtin",
        tool_version="",
        is_complete=not run.partial,
        partial=run.partial,
        total=len(seen),
        success=len(good),
        failed=len(seen) - len(good),
        warmup=sum(r.warmup for r in run.records),
        concurrency=concurrency or None,
        rate=rate or None,
        duration_s=span if valid else None,
        input_tokens=given,
        output_tokens=output,
        request_throughput=len(good) / span if valid else None,
        output_throughput=output / span if valid and output is not None else None,
        total_throughput=(output + given) / span if valid and output is not None and given is not None else None,
        ttft_ms=ttft,
        tpot_ms=tpot,
        itl_ms=itl,
        e2e_ms=spread_ms([r.end_s - r.intended_s for r in good]),
        speculative=speculative,
        server=server,
        errors=dict(Counter(f"{r.how}: {r.error}" for r in seen if r.how != "ok").most_common(20)),
        unknown=unknown,
        doubts=tuple(doubts),
        notes=tuple(notes),
    )


def _tpots(good: list[RequestRecord]) -> list[float]:
    """Seconds per token after the first."""
    found = []
    for r in good:
        if r.first_s is not None and r.output_tokens is not None and r.output_tokens > 1:
            found.append((r.chunks_s[-1] - r.first_s) / (r.output_tokens - 1))
    return found


def _about_pieces(good: list[RequestRecord], output: int | None) -> list[str]:
    pieces = sum(len(set(r.chunks_s)) for r in good)
    if output and pieces and abs(output - pieces) > 0.01 * output:
        return [f"{output / pieces:.2f} tokens a piece: ITL is between pieces, TPOT between tokens"]
    return []


def _doubts(run: LoadRun, seen: list[RequestRecord], good: list[RequestRecord], exact_length: bool) -> list[str]:
    doubts = []
    if not any(r.warmup for r in run.records):
        doubts.append("no warm-up: a cold start")
    cold = [r for r in run.records if r.warmup and r.how != "ok"]
    if cold:
        doubts.append(f"{len(cold)} requests of the warm-up failed: {cold[0].error}")
    if len(good) < len(seen):
        doubts.append(f"{len(seen) - len(good)} of {len(seen)} requests failed")
    if run.late_p99_s is not None and run.late_p99_s > LATE_S:
        doubts.append(f"the generator was late: {run.late_p99_s * 1e3:.1f} ms at p99, so it was itself a bottleneck")
    if run.cpu_share > BUSY:
        doubts.append(f"the generator used {run.cpu_share:.0%} of its core, so it was itself a bottleneck")
    wrong = next(filter(None, map(impossible, run.records)), "")
    if wrong:
        doubts.append(f"{wrong}: the clock jumped")
    short = [r for r in good if r.output_tokens is not None and r.output_tokens != r.asked_tokens]
    if exact_length and short:
        first = short[0]
        doubts.append(
            f"{len(short)} answers had another length than asked for (request {first.index}: {first.output_tokens} of "
            f"{first.asked_tokens} tokens), although ignore_eos was sent"
        )
    other = [r for r in good if r.sent_tokens is not None and r.prompt_tokens not in (None, r.sent_tokens)]
    if other:
        first = other[0]
        doubts.append(
            f"the server counted other prompts than were sent in {len(other)} requests (request {first.index}: "
            f"{first.prompt_tokens} for {first.sent_tokens} tokens): another tokenizer, or tokens of its own"
        )
    return doubts
