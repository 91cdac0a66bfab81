"""Chunked prefill: a prompt longer than a step's token budget is answered, in a start with a small budget."""

from __future__ import annotations

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Line, Model, Proof, Situation, Switch
from seatrial.gates.requests import COMPLETIONS

BUDGET = 128
PROMPT = 300


class ChunkedPrefill(Feature):
    name = "chunked-prefill"
    title = "Chunked prefill"
    positive = (
        Line(
            pattern=rf"Chunked prefill is enabled with max_num_batched_tokens={BUDGET}\b",
            source="Chunked prefill is enabled with max_num_batched_tokens=",
        ),
    )

    def not_attempted(self, model: Model, situation: Situation) -> str:
        if situation.max_model_len is not None and situation.max_model_len < PROMPT + 16:
            return f"the context of {situation.max_model_len} tokens is too short for a prompt of {PROMPT}"
        return ""

    def switch(self, model: Model, situation: Situation) -> Switch:
        args = ("--enable-chunked-prefill", "--max-num-batched-tokens", str(BUDGET))
        return Switch(args=args, drop=("no-enable-chunked-prefill",))

    def ask(self, client: Client, situation: Situation) -> Asked:
        body = {"prompt": [20 + i % 200 for i in range(PROMPT)], "max_tokens": 2, "temperature": 0}
        reply = client.post(COMPLETIONS, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        return Asked(proofs=(Proof(where="response", says=f"a prompt of {PROMPT} tokens in steps of {BUDGET}"),))


FEATURE = ChunkedPrefill()
