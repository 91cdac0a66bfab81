"""Multi-token prediction: declared, present in the checkpoint, and accepted by the engine with tokens accepted."""

from __future__ import annotations

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation, Switch
from seatrial.gates.requests import COMPLETIONS

DECLARED = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "num_mtp_layers")
ACCEPTED, DRAFTED = "vllm:spec_decode_num_accepted_tokens_total", "vllm:spec_decode_num_draft_tokens_total"


class Mtp(Feature):
    name = "mtp"
    title = "Multi-token prediction"

    def not_applicable(self, model: Model, situation: Situation) -> str:
        declared = model.field(*DECLARED)
        if declared is None:
            return f"config.json: none of {', '.join(DECLARED)}"
        return f"config.json: {declared[0]} is 0" if not declared[1] else ""

    def missing(self, model: Model) -> str:
        if not model.tensors:
            return ""  # of files whose names cannot be read nothing is known to be missing
        layers = model.field("num_hidden_layers")
        extra = f".layers.{layers[1]}." if layers else "\0"
        if any("mtp" in name or "nextn" in name or extra in name for name in model.tensors):
            return ""
        declared = model.field(*DECLARED) or ("", 0)
        return f"config.json declares {declared[0]} = {declared[1]}, and no tensor of the checkpoint belongs to it"

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'))

    def ask(self, client: Client, situation: Situation) -> Asked:
        body = {"prompt": "The sea", "max_tokens": 64, "temperature": 0, "ignore_eos": True}
        reply = client.post(COMPLETIONS, body)
        if reply.trouble():
            return Asked(against=reply.trouble())
        drafted, accepted = client.number(DRAFTED), client.number(ACCEPTED)
        if not drafted:
            return Asked()
        if not accepted:
            return Asked(against=f"0 of {drafted:.0f} draft tokens were accepted: draft weights may be mapped wrongly")
        return Asked(proofs=(Proof(where="metrics", says=f"{accepted:.0f} of {drafted:.0f} draft tokens accepted"),))


FEATURE = Mtp()
