"""Agreement: the same greedy prompts under two settings, compared token by token with their log-probabilities.

In: answers of two runs. Out: for each prompt the first token that differs and by how much the two best candidates were
apart there: a tiny margin is rounding, a wide one is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seatrial.core.record import Record
from seatrial.gates.client import Client
from seatrial.gates.load import prompt
from seatrial.gates.requests import COMPLETIONS

# Log-probabilities of bfloat16 kernels differ in the second decimal between batch sizes or ranks; a divergence at a
# place where the two candidates were closer than this is counted as rounding.
ROUNDING = 0.1
PROMPTS = 8
ANSWER = 24
LENGTHS = tuple(12 + 5 * n for n in range(PROMPTS))


class Greedy(Record):
    """One greedy answer: its tokens, their log-probabilities, and the best alternatives at each place."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    top: tuple[dict[str, float], ...]
    trouble: str = ""


class Divergence(Record):
    """`place` counts answer tokens from 0. `margin`: log-probability of the first run's token minus the second run's,
    as the first run saw them; None if the second's was not among the first's best.
    """

    prompt: int
    place: int
    first: str
    second: str
    margin: float | None


class Agreement(Record):
    """`worst_logprob`: the largest difference over the tokens both runs agree on, None if there is none."""

    first: str
    second: str
    prompts: int
    equal: int
    divergences: tuple[Divergence, ...]
    worst_logprob: float | None
    troubles: tuple[str, ...] = ()

    def beyond_rounding(self) -> list[Divergence]:
        return [d for d in self.divergences if d.margin is None or d.margin > ROUNDING]


def greedy(client: Client, *, at_once: int, lengths: Sequence[int] = LENGTHS) -> list[Greedy]:
    """The fixed prompts' greedy answers, `at_once` requests in flight (so: in one batch); `lengths` in tokens."""

    def one(number: int) -> Greedy:
        body = {
            "prompt": prompt(lengths[number], number),
            "max_tokens": ANSWER,
            "temperature": 0,
            "ignore_eos": True,
            "logprobs": 5,
        }
        reply = client.once("POST", COMPLETIONS, body)
        if reply.trouble():
            return Greedy(tokens=(), logprobs=(), top=(), trouble=reply.trouble())
        return _read(reply.json())

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(one, range(len(lengths))))


def compare(first: str, second: str, one: list[Greedy], other: list[Greedy]) -> Agreement:
    """`first` and `second` name the settings."""
    divergences: list[Divergence] = []
    differences: list[float] = []
    equal = 0
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        if a.trouble or b.trouble:
            continue
        place = next((i for i, (x, y) in enumerate(zip(a.tokens, b.tokens, strict=False)) if x != y), None)
        if place is None and len(a.tokens) != len(b.tokens):
            place = min(len(a.tokens), len(b.tokens))
        until = len(a.tokens) if place is None else place
        differences += [abs(x - y) for x, y in zip(a.logprobs[:until], b.logprobs[:until], strict=False)]
        if place is None:
            equal += 1
            continue
        left = a.tokens[place] if place < len(a.tokens) else ""
        right = b.tokens[place] if place < len(b.tokens) else ""
        best = a.top[place] if place < len(a.top) else {}
        margin = best[left] - best[right] if left in best and right in best else None
        divergences.append(Divergence(prompt=number, place=place, first=left, second=right, margin=margin))
    return Agreement(
        first=first,
        second=second,
        prompts=len(one),
        equal=equal,
        divergences=tuple(divergences),
        worst_logprob=max(differences) if differences else None,
        troubles=tuple(sorted({g.trouble for g in (*one, *other) if g.trouble})),
    )


def _read(document: Any) -> Greedy:
    try:
        logprobs = document["choices"][0]["logprobs"]
        return Greedy(
            tokens=tuple(str(t) for t in logprobs["tokens"]),
            logprobs=tuple(float(p) for p in logprobs["token_logprobs"]),
            top=tuple({str(k): float(v) for k, v in row.items()} for row in logprobs["top_logprobs"]),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return Greedy(tokens=(), logprobs=(), top=(), trouble="the answer holds no log-probabilities")
