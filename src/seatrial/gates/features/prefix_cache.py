"""Prefix cache: the same long prompt twice, and the engine's own counter says the second one hit."""

from __future__ import annotations

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Proof, Situation
from seatrial.gates.requests import COMPLETIONS

COUNTER = "vllm:prefix_cache_hits_total"
LONGEST = 300  # tokens: more than two blocks of 128, the largest default block size of the platforms here


class PrefixCache(Feature):
    name = "prefix-cache"
    title = "Prefix cache"

    def ask(self, client: Client, situation: Situation) -> Asked:
        before = client.number(COUNTER)
        if before is None:
            return Asked()
        length = min(LONGEST, (situation.max_model_len or LONGEST + 16) - 16)
        # Token numbers, so that the length is known for any tokenizer; every vocabulary has these.
        body = {"prompt": [20 + i % 200 for i in range(length)], "max_tokens": 2, "temperature": 0}
        for _ in range(2):
            reply = client.post(COMPLETIONS, body)
            if reply.trouble():
                return Asked(against=reply.trouble())
        after = client.number(COUNTER)
        hits = (after or 0.0) - before
        if hits <= 0:
            return Asked(against=f"{COUNTER} stayed at {before:.0f} over two equal prompts of {length} tokens")
        return Asked(proofs=(Proof(where="metrics", says=f"{COUNTER} rose by {hits:.0f} tokens"),))


FEATURE = PrefixCache()
