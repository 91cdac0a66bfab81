"""Speculative decoding by prompt look-up, which needs no draft model: are drafts made at all?"""

from __future__ import annotations

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation, Switch
from seatrial.gates.features.mtp import ACCEPTED, DRAFTED
from seatrial.gates.requests import COMPLETIONS


class SpeculativeNgram(Feature):
    name = "speculative-ngram"
    title = "Speculative decoding (n-gram)"

    def switch(self, model: Model, situation: Situation) -> Switch:
        config = '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3, "prompt_lookup_min": 1}'
        return Switch(args=("--speculative-config", config))

    def ask(self, client: Client, situation: Situation) -> Asked:
        # A prompt that repeats itself gives the look-up something to find, whatever the model answers.
        body = {"prompt": [20 + i % 10 for i in range(100)], "max_tokens": 48, "temperature": 0, "ignore_eos": True}
        reply = client.post(COMPLETIONS, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        drafted, accepted = client.number(DRAFTED), client.number(ACCEPTED)
        if not drafted:
            return Asked()
        return Asked(proofs=(Proof(where="metrics", says=f"{drafted:.0f} drafted, {accepted or 0:.0f} accepted"),))


FEATURE = SpeculativeNgram()
