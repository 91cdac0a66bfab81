"""Structured output: a JSON schema is kept even by a model that talks nonsense."""

from __future__ import annotations

import json

from seatrial.gates.client import Client
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
        body = {"messages": question, "max_tokens": 64, "temperature": 0, "response_format": wanted}
        reply = client.post(CHAT, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        try:
            text = reply.json()["choices"][0]["message"]["content"]
            side = json.loads(text)["side"]
        except (KeyError, IndexError, TypeError, ValueError):
            return Asked(against=f"the answer is not of the schema: {reply.body[-300:].decode(errors='replace')}")
        if side not in ("port", "starboard"):
            return Asked(against=f"the schema's enum was not kept: {side!r}")
        return Asked(proofs=(Proof(where="response", says=f"content {text!r} keeps the schema"),))


FEATURE = StructuredOutput()
