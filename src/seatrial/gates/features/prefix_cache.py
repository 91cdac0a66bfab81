"""Prefix cache: the same long prompt again and again, and the engine's own counter says that a later one hit.

Only whole blocks are kept, and a model with states has long ones (640 tokens and more), so the prompt must be longer
than the block that the server says it uses. Where the server says that the cache is off, its silence proves nothing.
"""

from __future__ import annotations

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Proof, Situation
from seatrial.gates.requests import COMPLETIONS

COUNTER = "vllm:prefix_cache_hits_total"
CONFIG = "vllm:cache_config_info"
MOST = 8  # equal prompts; of several replicas each has a cache of its own, and the second may go to another one
LEAST = 300  # tokens: more than two blocks of 128, the largest plain block of the platforms here


class PrefixCache(Feature):
    name = "prefix-cache"
    title = "Prefix cache"

    def ask(self, client: Client, situation: Situation) -> Asked:
        before = client.number(COUNTER)
        if before is None:
            return Asked()
        said = client.labels(CONFIG)
        if said.get("enable_prefix_caching") == "False":
            return Asked(
                unsure=f"{CONFIG} says enable_prefix_caching=False here: set enable-prefix-caching in serve.args"
            )
        block = int(said["block_size"]) if said.get("block_size", "").isdecimal() else 0
        length = max(LEAST, 2 * block + 16)
        if situation.max_model_len is not None:
            length = min(length, situation.max_model_len - 16)
        if length <= block:
            return Asked(
                unsure=f"blocks are of {block} tokens and the longest prompt of {length}: raise --max-model-len"
            )
        # Token numbers, so that the length is known for any tokenizer; every vocabulary has these.
        body = {"prompt": [20 + i % 200 for i in range(length)], "max_tokens": 2, "temperature": 0}
        for number in range(1, MOST + 1):
            reply = client.post(COMPLETIONS, body)
            if reply.trouble():
                return Asked(against=reply.trouble())
            after = client.number(COUNTER) if number > 1 else before
            if after is None:
                return Asked(unsure=f"{COUNTER} was there before the prompts and not behind them")
            if after > before:
                return Asked(proofs=(Proof(where="metrics", says=f"{COUNTER} rose by {after - before:.0f} tokens"),))
        return Asked(against=f"{COUNTER} stayed at {before:.0f} over {MOST} equal prompts of {length} tokens")


FEATURE = PrefixCache()
