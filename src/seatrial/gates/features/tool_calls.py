"""Tool calls: a named tool is called with arguments of its schema."""

from __future__ import annotations

import json

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation, Switch
from seatrial.gates.features.structured_output import SCHEMA, cut_off, post_constrained


class ToolCalls(Feature):
    name = "tool-calls"
    title = "Tool calls (named tool)"

    def switch(self, model: Model, situation: Situation) -> Switch:
        # A named tool is enforced by the schema; any parser satisfies the server, which from vLLM 0.32 on demands one.
        return Switch(args=("--enable-auto-tool-choice", "--tool-call-parser", "hermes"))

    def ask(self, client: Client, situation: Situation) -> Asked:
        # Strict: with a parser, vLLM from 0.32 on leaves the arguments of other tools to the model.
        turn = {"name": "turn", "description": "Turn the ship.", "parameters": SCHEMA, "strict": True}
        body = {
            "messages": [{"role": "user", "content": "Turn."}],
            "max_tokens": 96,
            "tools": [{"type": "function", "function": turn}],
            "tool_choice": {"type": "function", "function": {"name": "turn"}},
        }
        reply = post_constrained(client, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        try:
            call = reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]
            name, side = call["name"], json.loads(call["arguments"])["side"]
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            return cut_off(reply) or Asked(against=f"no call with arguments: {_said(reply.json())}")
        if name != "turn" or side not in ("port", "starboard"):
            return Asked(against=f"the call is not of the tool's schema: {call}")
        return Asked(proofs=(Proof(where="response", says=f"{name}({call['arguments']})"),))


def _said(document: object) -> str:
    """The message of an answer, which says more than its end."""
    try:
        return repr(document["choices"][0]["message"])[:300]  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return repr(document)[:300]


FEATURE = ToolCalls()
