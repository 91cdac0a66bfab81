"""Log-probabilities of the sampled token and of the best alternatives: numbers, and a probability in all."""

from __future__ import annotations

import math

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Proof, Situation
from seatrial.gates.requests import COMPLETIONS


class Logprobs(Feature):
    name = "logprobs"
    title = "Log-probabilities"

    def ask(self, client: Client, situation: Situation) -> Asked:
        body = {"prompt": "The sea", "max_tokens": 4, "temperature": 0, "ignore_eos": True, "logprobs": 3}
        reply = client.post(COMPLETIONS, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        document = reply.json()
        try:
            rows = document["choices"][0]["logprobs"]["top_logprobs"]
            sums = [math.fsum(math.exp(value) for value in row.values()) for row in rows]
        except (KeyError, IndexError, TypeError, AttributeError, OverflowError):
            return Asked(against="the answer holds no top_logprobs that are logarithms of probabilities")
        if not sums or any(math.isnan(total) or not 0 < total <= 1.001 for total in sums):
            return Asked(against=f"the best tokens' probabilities sum to {sums}, not to at most 1")
        return Asked(
            proofs=(Proof(where="response", says=f"{len(sums)} tokens, the best of each sum to {sums[0]:.3f}"),)
        )


FEATURE = Logprobs()
