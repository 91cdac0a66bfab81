"""The soak: thousands of short, mixed requests, and does the engine stay as it was?

In: a checkpoint, a target, a number of requests. Out: a `StepResult` with `SoakFacts`: error rate, latencies, memory of
the engine's processes over the requests, and the number of the request at which it died, if it did.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import psutil

from seatrial.core.record import Record
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, inconclusive
from seatrial.gates.client import Client
from seatrial.gates.exchange import Exchange
from seatrial.gates.load import prompt
from seatrial.gates.requests import COMPLETIONS
from seatrial.gates.runner import gate
from seatrial.targets import Target

LENGTHS = (1, 7, 32, 3, 100, 16)  # prompt tokens
ANSWERS = (1, 8, 2, 16)  # answer tokens; the two lists differ in length, so that all pairs come up
BATCH = 50  # requests between two looks at the memory
OWN_GATE = "the requests were answered, but the server's own gate fails"
GROWTH = 0.10  # of the memory after a quarter of the requests, when caches are warm; more is a finding


class MemorySample(Record):
    """Resident memory of all engine processes together, in bytes, after so many requests of the soak.

    None where it could not be read, of all or of one of them: less than all is no measurement.
    """

    requests: int
    bytes: int | None


class SoakFacts(Record):
    """`died_at`: how many requests had been sent when the server died, None if it lived. `growth` is the change of
    memory from a quarter of the way to the end, as a fraction; None with too few samples.
    """

    asked_for: int
    sent: int
    answered: int
    troubles: dict[str, int]
    died_at: int | None
    median_s: float | None
    p99_s: float | None
    seconds: float
    memory: tuple[MemorySample, ...]
    growth: float | None


def soak(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    requests: int,
    at_once: int = 4,
    tp: int | None = None,
    max_model_len: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Start, send, stop. Fails when a request fails, the server dies or its gate fails; memory growth alone is
    inconclusive.
    """
    seen: list[SoakFacts] = []
    result = gate(
        checkpoint,
        target,
        python=python,
        stage=stage,
        scratch=scratch,
        tp=tp,
        max_model_len=max_model_len,
        visit=lambda client: seen.append(_send(client, requests, at_once, max_model_len, say)),
        say=say,
    )
    if not seen:
        why = f"the server did not get as far as the soak: {result.outcome.reason}"
        return StepResult(
            step="soak",
            outcome=inconclusive(why),
            summary=why,
            facts=result.facts,
            commands=result.commands[:1],
            attachments=result.attachments,
            timeline=result.timeline,
        )
    facts = seen[0]
    unread = sum(m.bytes is None for m in facts.memory)
    rise = f", memory {facts.growth:+.1%}" if facts.growth is not None else ""
    summary = f"{facts.answered} of {facts.asked_for} requests answered in {facts.seconds:.0f} s{rise}"
    if facts.died_at is not None:
        outcome = failed(f"the server died after {facts.died_at} requests: {result.outcome.reason}")
    elif facts.answered < facts.asked_for:
        outcome = failed(f"{facts.asked_for - facts.answered} requests failed: {next(iter(facts.troubles))}")
    elif result.facts.ending != "ready":
        # The gate around the requests failed: the server died behind the last one, or talks nonsense.
        outcome = failed(f"{OWN_GATE}: {result.outcome.reason}")
    elif facts.growth is not None and facts.growth > GROWTH:
        outcome = inconclusive(f"memory grew by {facts.growth:.1%} after the first quarter; a longer soak would tell")
    elif facts.growth is None and unread:
        outcome = inconclusive(f"the memory could not be read in {unread} of {len(facts.memory)} looks at it")
    else:
        outcome = result.outcome  # passed, or inconclusive where the sources that ran are not proven
    return StepResult(
        step="soak",
        outcome=outcome,
        summary=summary,
        facts=facts,
        commands=result.commands[:1],
        attachments=tuple(a for a in result.attachments if a.name == "server.log"),
        timeline=result.timeline,
    )


def _send(
    client: Client, requests: int, at_once: int, max_model_len: int | None, say: Callable[[str], None]
) -> SoakFacts:
    began = time.monotonic()
    replies: list[Exchange] = []
    memory = [MemorySample(requests=0, bytes=_resident(client.pids()))]
    died_at = None
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        while len(replies) < requests and died_at is None:
            first = len(replies)
            numbers = range(first, min(first + BATCH, requests))
            replies.extend(pool.map(lambda n: client.once("POST", COMPLETIONS, _body(n, max_model_len)), numbers))
            memory.append(MemorySample(requests=len(replies), bytes=_resident(client.pids())))
            say(f"soak: {len(replies)} of {requests} requests")
            if not client.serves():
                bad = next((i for i, r in enumerate(replies) if r.trouble()), len(replies))
                died_at = bad
    took = sorted(r.duration_s for r in replies if not r.trouble())
    troubles: dict[str, int] = {}
    for reply in replies:
        if trouble := reply.trouble():
            troubles[trouble[:200]] = troubles.get(trouble[:200], 0) + 1
    return SoakFacts(
        asked_for=requests,
        sent=len(replies),
        answered=len(took),
        troubles=troubles,
        died_at=died_at,
        median_s=statistics.median(took) if took else None,
        p99_s=took[math.ceil(len(took) * 0.99) - 1] if took else None,
        seconds=time.monotonic() - began,
        memory=tuple(memory),
        growth=growth(memory, died_at),
    )


def _body(number: int, max_model_len: int | None) -> dict[str, Any]:
    length = LENGTHS[number % len(LENGTHS)]
    answer = ANSWERS[number % len(ANSWERS)]
    if max_model_len is not None:
        length = max(1, min(length, max_model_len - answer - 1))
    body: dict[str, Any] = {"prompt": prompt(length, number), "max_tokens": answer}
    # Greedy and sampled requests take different paths through the sampler.
    return {**body, "temperature": 0} if number % 2 else {**body, "temperature": 1.0, "top_p": 0.9, "seed": number}


def _resident(pids: list[int]) -> int | None:
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            continue  # a helper that ended between the two looks
        except psutil.Error:
            return None
    return total or None


def growth(memory: Sequence[MemorySample], died_at: int | None) -> float | None:
    """The last quarter's median against the second quarter's; the first is warming up. Quarters are of all looks; None
    under eight known ones, or where nothing is known of one of the two quarters.
    """
    if died_at is not None or sum(m.bytes is not None for m in memory) < 8:
        return None
    quarter = len(memory) // 4
    first = [m.bytes for m in memory[quarter : 2 * quarter] if m.bytes is not None]
    last = [m.bytes for m in memory[-quarter:] if m.bytes is not None]
    if not first or not last:
        return None
    early, late = statistics.median(first), statistics.median(last)
    return (late - early) / early if early else None
