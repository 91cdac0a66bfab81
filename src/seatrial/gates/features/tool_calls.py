"""Tool calls: a named tool is called with arguments of its schema."""

from __future__ import annotations

import json

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation, Switch
from seatrial.gates.features.structured_output import SCHEMA
from seatrial.gates.requests import CHAT


class ToolCalls(Feature):
    name = "tool-calls"
    title = "Tool calls (named tool)"

    def switch(self, model: Model, situation: Situation) -> Switch:
        # A named tool is enforced by the schema; any parser satisfies the server, which from vLLM 0.32 on demands one.
        return Switch(args=("--enable-auto-tool-choice", "--tool-call-parser", "hermes"))

    def ask(self, client: Client, situation: Situation) -> Asked:
        tool = {"type": "function", "function": {"name": "turn", "description": "Turn the ship.", "parameters": SCHEMA}}
        body = {
            "messages": [{"role": "user", "content": "Turn."}],
            "max_tokens": 64,
            "temperature": 0,
            "tools": [tool],
            "tool_choice": {"type": "function", "function": {"name": "turn"}},
        }
        reply = client.post(CHAT, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        try:
            call = reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]
            side = json.loads(call["arguments"])["side"]
        except (KeyError, IndexError, TypeError, ValueError):
            return Asked(against=f"no call with arguments: {reply.body[-300:].decode(errors='replace')}")
        if call["name"] != "turn" or side not in ("port", "starboard"):
            return Asked(against=f"the call is not of the tool's schema: {call}")
        return Asked(proofs=(Proof(where="response", says=f"{call['name']}({call['arguments']})"),))


FEATURE = ToolCalls()
