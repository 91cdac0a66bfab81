"""Agreement: the same greedy prompts under two settings, compared token by token with their log-probabilities.

In: answers of two runs. Out: for each prompt the first token that differs and by how much the two candidates were apart
there, as either run saw it: a tiny margin is rounding, a wide one is a fault. What is tiny depends on the format of the
logits, which the answers themselves show: candidates of one place differ by whole steps of it (a bfloat16 logit between
16 and 32 has steps of 1/8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seatrial.core.record import Record
from seatrial.gates.client import Client
from seatrial.gates.load import prompt
from seatrial.gates.requests import COMPLETIONS

# Log-probabilities of bfloat16 kernels differ in the second decimal between batch sizes or ranks; a divergence at a
# place where the two candidates were closer than this, or than two steps of the logits' format, is counted as rounding.
ROUNDING = 0.1
STEPS = tuple(2.0**-n for n in range(1, 7))  # above 1/2 is no rounding whatever the format; below 1/64 is nothing here
SHARP = 1e-4  # a log-probability is a float32 difference of numbers up to some hundred
PROMPTS = 8
ANSWER = 24
LENGTHS = tuple(12 + 5 * n for n in range(PROMPTS))


class Greedy(Record):
    """One greedy answer: its tokens (as `token_id:12`, or as text where a server gives no numbers), their
    log-probabilities, and the best alternatives at each place.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    top: tuple[dict[str, float], ...]
    trouble: str = ""


class Divergence(Record):
    """`place` counts answer tokens from 0. `margin`: log-probability of the first run's token minus the second run's,
    as the first run saw them; None if the second's was not among the first's best. `other_margin`: the second run's
    token minus the first's, as the second run saw them, likewise.
    """

    prompt: int
    place: int
    first: str
    second: str
    margin: float | None
    other_margin: float | None = None


class Agreement(Record):
    """`worst_logprob`: the largest difference over the tokens both runs agree on, None if there is none. `step`: the
    step of the logits' format by the answers (0: none is seen, as with float32).
    """

    first: str
    second: str
    prompts: int
    equal: int
    divergences: tuple[Divergence, ...]
    worst_logprob: float | None
    troubles: tuple[str, ...] = ()
    step: float = 0.0

    @property
    def rounding(self) -> float:
        """The margin up to which a divergence is rounding: either logit may be off by a step."""
        return max(ROUNDING, 2 * self.step)

    def beyond_rounding(self) -> list[Divergence]:
        """Where one of the two runs was sure of its token, or did not count the other's among its best."""
        margins = ((d, (d.margin, d.other_margin)) for d in self.divergences)
        return [d for d, both in margins if any(m is None or m > self.rounding for m in both)]


def greedy(client: Client, *, at_once: int, lengths: Sequence[int] = LENGTHS) -> list[Greedy]:
    """The fixed prompts' greedy answers, `at_once` requests in flight (so: in one batch); `lengths` in tokens."""

    def one(number: int) -> Greedy:
        body = {
            "prompt": prompt(lengths[number], number),
            "max_tokens": ANSWER,
            "temperature": 0,
            "ignore_eos": True,
            "logprobs": 5,
            # By number (`token_id:12`): several tokens may be written alike, halves of a character all as one sign.
            "return_tokens_as_token_ids": True,
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
        divergences.append(
            Divergence(
                prompt=number,
                place=place,
                first=left,
                second=right,
                margin=_margin(a, place, left, right),
                other_margin=_margin(b, place, right, left),
            )
        )
    return Agreement(
        first=first,
        second=second,
        prompts=len(one),
        equal=equal,
        divergences=tuple(divergences),
        worst_logprob=max(differences) if differences else None,
        troubles=tuple(sorted({g.trouble for g in (*one, *other) if g.trouble})),
        step=_step([row for answer in (*one, *other) for row in answer.top]),
    )


def _margin(answer: Greedy, place: int, token: str, instead: str) -> float | None:
    best = answer.top[place] if place < len(answer.top) else {}
    return best[token] - best[instead] if token in best and instead in best else None


def _step(rows: list[dict[str, float]]) -> float:
    """The median over places of the coarsest step whose multiples all candidates' distances are; 0 for none."""
    steps = []
    for row in rows:
        best = sorted(row.values(), reverse=True)
        gaps = [best[0] - value for value in best[1:]]
        if len(gaps) < 3 or not any(gaps):
            continue  # too little to tell by
        fits = (s for s in STEPS if all(abs(gap / s - round(gap / s)) * s < SHARP for gap in gaps))
        steps.append(next(fits, 0.0))
    return sorted(steps)[len(steps) // 2] if steps else 0.0


def _read(document: Any) -> Greedy:
    try:
        logprobs = document["choices"][0]["logprobs"]
        read = Greedy(
            tokens=tuple(str(t) for t in logprobs["tokens"]),
            logprobs=tuple(float(p) for p in logprobs["token_logprobs"]),
            top=tuple({str(k): float(v) for k, v in row.items()} for row in logprobs["top_logprobs"]),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return Greedy(tokens=(), logprobs=(), top=(), trouble="the answer holds no log-probabilities")
    if not all(map(math.isfinite, (*read.logprobs, *(value for row in read.top for value in row.values())))):
        # Of two candidates that are not numbers none is ahead, and a wide margin would be taken for rounding.
        return Greedy(tokens=(), logprobs=(), top=(), trouble="the answer's log-probabilities are not numbers")
    # Two answers without a token would be equal, and nothing would have been compared.
    if not read.tokens or not len(read.tokens) == len(read.logprobs) == len(read.top):
        told = f"{len(read.tokens)} tokens, {len(read.logprobs)} log-probabilities, {len(read.top)} rows of the best"
        return Greedy(tokens=(), logprobs=(), top=(), trouble=f"the answer cannot be compared: {told}")
    return read
