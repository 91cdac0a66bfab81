"""Streaming: the answer comes as server-sent events, several pieces and an end mark."""

from __future__ import annotations

import json

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Proof, Situation
from seatrial.gates.requests import COMPLETIONS


class Streaming(Feature):
    name = "streaming"
    title = "Streaming"

    def ask(self, client: Client, situation: Situation) -> Asked:
        body = {"prompt": "The sea", "max_tokens": 8, "temperature": 0, "ignore_eos": True, "stream": True}
        reply = client.post(COMPLETIONS, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        events = [line[6:] for line in reply.body.decode(errors="replace").splitlines() if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            return Asked(against=f"{len(events)} events, the last is not [DONE]")
        try:
            documents = [json.loads(event) for event in events[:-1]]
            error = next((d["error"] for d in documents if "error" in d), None)
            # The last event may hold the usage and no choice.
            pieces = [d["choices"][0]["text"] for d in documents if d.get("choices")]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError):
            return Asked(against=f"the events are not those of a completion: {' '.join(events)[:300]}")
        if error is not None:
            return Asked(against=f"the stream broke off with an error: {str(error)[:300]}")
        if len(pieces) < 2:
            return Asked(against=f"the answer came in {len(pieces)} piece")
        # An engine that gathers the whole text first sends it in one piece, and an empty one at the end.
        told = sum(bool(piece) for piece in pieces)
        if told < 2:
            return Asked(unsure=f"of {len(pieces)} events {told} had text: whether the others would have is not seen")
        return Asked(proofs=(Proof(where="response", says=f"{told} events with text, then [DONE]"),))


FEATURE = Streaming()
