"""Counters of speculative decoding from the server itself, before and after a run.

In: two texts of the server's metrics page (Prometheus text, or `name : value` lines as brpc's /vars prints them). Out:
`Speculative` or None where the server has no such counter. The true accept rate is accepted / drafted; what a client
derives from the number of chunks (evalscope's `1 - 1/L`) is not that and is kept apart.
"""

from __future__ import annotations

import math
import re

from seatrial.measure.load.metrics import Speculative

# accepted tokens, drafted tokens, drafts; by the server that names them so.
NAMES = (
    (
        "vllm:spec_decode_num_accepted_tokens_total",
        "vllm:spec_decode_num_draft_tokens_total",
        "vllm:spec_decode_num_drafts_total",
    ),
    ("speculative_num_accepted_tokens_total", "speculative_num_draft_tokens_total", ""),
)
# Servers without such counters: a gauge of tokens a step over their last steps (SGLang), 0 without speculation.
GAUGE = "sglang:spec_accept_length"


def values(text: str, name: str) -> list[float]:
    """What the page says of a name, one value for each set of labels; empty where one is no number."""
    label = r"(?:\{[^}\n]*\})?"
    found = re.findall(rf"^{re.escape(name)}{label}\s*[: ]\s*(\S+)(?: \d+)?$", text, re.MULTILINE)
    try:
        numbers = [float(v) for v in found]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def counter(text: str, name: str) -> float | None:
    """The sum of a counter over its labels; None if it is not there or no number."""
    if not name:
        return None
    found = values(text, name)
    return sum(found) if found else None


def speculative(before: str, after: str, tokens_each: int | None = None) -> Speculative | None:
    """From two pages. `tokens_each`: num_speculative_tokens, if known, for the check of tokens per iteration."""
    for accepted_name, drafted_name, drafts_name in NAMES:
        if counter(after, accepted_name) is None:
            continue
        pairs = [(counter(before, n), counter(after, n)) for n in (accepted_name, drafted_name, drafts_name)]
        accepted, drafted, drafts = (b - a if a is not None and b is not None else None for a, b in pairs)
        if accepted is None or drafted is None:
            return Speculative(note="a counter is missing before or after the run")
        if accepted < 0 or drafted < 0 or accepted > drafted:
            return Speculative(note="the counters run backwards or contradict each other: the server was restarted?")
        if drafted == 0:
            return Speculative(accepted=accepted, drafted=drafted, drafts=drafts, note="nothing was drafted")
        per_iteration = 1 + accepted / drafts if drafts else None
        note = ""
        if per_iteration is not None and tokens_each is not None and per_iteration > tokens_each + 1 + 1e-9:
            note = f"{per_iteration:.2f} tokens an iteration cannot be with {tokens_each} speculative tokens"
        return Speculative(
            accepted=accepted,
            drafted=drafted,
            drafts=drafts,
            accept_rate=accepted / drafted,
            tokens_per_iteration=per_iteration,
            note=note,
        )
    gauge = [v for v in values(after, GAUGE) if v >= 1]
    if gauge:
        note = f"{GAUGE} at the run's end: a gauge of the last steps, weak, and no accept rate"
        return Speculative(tokens_per_iteration=sum(gauge) / len(gauge), note=note)
    return None
