"""Several requests at once against a running server: what was answered, how fast, and how many ran together.

Prompts are token numbers, so that their length is exact for any tokenizer; every vocabulary has those used here.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from seatrial.core.record import Record
from seatrial.gates.client import Client
from seatrial.gates.exchange import Exchange
from seatrial.gates.requests import COMPLETIONS

RUNNING = "vllm:num_requests_running"


class LoadResult(Record):
    """`most_running`: the engine's own gauge at its highest, None if it has none. `first_trouble`: "" for none."""

    sent: int
    answered: int
    seconds: float
    slowest_s: float
    completion_tokens: int
    most_running: int | None
    first_trouble: str


def prompt(length: int, seed: int = 0) -> list[int]:
    """`length` token numbers; different seeds share no prefix, so that no cache shortens the work."""
    return [20 + (seed * 7 + i * (1 + seed % 3)) % 200 for i in range(length)]


def load(client: Client, *, requests: int, at_once: int, prompt_tokens: int, answer_tokens: int) -> LoadResult:
    """Send `requests` of the given sizes, `at_once` in flight."""
    began = time.monotonic()
    done = threading.Event()
    most: list[int] = []

    def watch() -> None:
        while (running := client.number(RUNNING)) is not None:
            most.append(int(running))
            if done.wait(0.1):
                return

    def one(number: int) -> Exchange:
        body = {
            "prompt": prompt(prompt_tokens, number),
            "max_tokens": answer_tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        return client.once("POST", COMPLETIONS, body)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            replies = list(pool.map(one, range(requests)))
    finally:
        done.set()
        watcher.join(10)
    good = [reply for reply in replies if not reply.trouble()]
    return LoadResult(
        sent=len(replies),
        answered=len(good),
        seconds=time.monotonic() - began,
        slowest_s=max((reply.duration_s for reply in replies), default=0.0),
        completion_tokens=sum(_tokens(reply) for reply in good),
        most_running=max(most) if most else None,
        first_trouble=next((reply.trouble() for reply in replies if reply.trouble()), ""),
    )


def _tokens(reply: Exchange) -> int:
    document = reply.json()
    usage = document.get("usage") if isinstance(document, dict) else None
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0
