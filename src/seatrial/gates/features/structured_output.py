"""Structured output: a JSON schema is kept even by a model that talks nonsense."""

from __future__ import annotations

import json
from typing import Any

from seatrial.gates.client import Client
from seatrial.gates.exchange import Exchange
from seatrial.gates.features.base import Asked, Feature, Proof, Situation
from seatrial.gates.requests import CHAT

SCHEMA = {
    "type": "object",
    "properties": {"side": {"type": "string", "enum": ["port", "starboard"]}},
    "required": ["side"],
    "additionalProperties": False,
}


class StructuredOutput(Feature):
    name = "structured-output"
    title = "Structured output (JSON schema)"

    def ask(self, client: Client, situation: Situation) -> Asked:
        wanted = {"type": "json_schema", "json_schema": {"name": "side", "schema": SCHEMA, "strict": True}}
        question = [{"role": "user", "content": "Which side? Answer in JSON."}]
        body = {"messages": question, "max_tokens": 64, "response_format": wanted}
        reply = post_constrained(client, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        try:
            text = reply.json()["choices"][0]["message"]["content"]
            side = json.loads(text)["side"]
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            return cut_off(reply) or Asked(
                against=f"the answer is not of the schema: {reply.body[-300:].decode(errors='replace')}"
            )
        if side not in ("port", "starboard"):
            return Asked(against=f"the schema's enum was not kept: {side!r}")
        return Asked(proofs=(Proof(where="response", says=f"content {text!r} keeps the schema"),))


def post_constrained(client: Client, body: dict[str, Any]) -> Exchange:
    """Greedy; if that was cut off, once more sampled. A model with random weights may fill its answer with the white
    space that JSON allows between any two words, and only chance ends it; the schema holds for either.
    """
    reply = client.post(CHAT, {**body, "temperature": 0})
    return client.post(CHAT, {**body, "temperature": 2.0, "seed": 1}) if cut_off(reply) else reply


def cut_off(reply: Exchange) -> Asked | None:
    """What to say if the answer ended at its limit: it decides nothing."""
    try:
        reason = reply.json()["choices"][0]["finish_reason"]
    except (KeyError, IndexError, TypeError):
        return None
    return Asked(unsure="the answer was cut off at its limit before it was whole") if reason == "length" else None


FEATURE = StructuredOutput()
