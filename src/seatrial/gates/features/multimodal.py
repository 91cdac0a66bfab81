"""Images: a request with one is answered, and it costs prompt tokens that the same text alone does not."""

from __future__ import annotations

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation
from seatrial.gates.requests import CHAT, image


class Multimodal(Feature):
    name = "multimodal"
    title = "Images"

    def not_applicable(self, model: Model, situation: Situation) -> str:
        declared = any(key in model.config for key in ("vision_config", "vit_config", "vision_tower_config"))
        return "" if declared else "config.json: no vision_config"

    def ask(self, client: Client, situation: Situation) -> Asked:
        with_image = image(client.model).body
        reply = client.post(CHAT, with_image)
        if reply.trouble():
            return Asked(against=reply.trouble())
        words = with_image["messages"][0]["content"][0]["text"]
        alone = client.post(CHAT, {**with_image, "messages": [{"role": "user", "content": words}]})
        try:
            more = reply.json()["usage"]["prompt_tokens"] - alone.json()["usage"]["prompt_tokens"]
        except (KeyError, TypeError):
            return Asked()
        if more <= 1:
            return Asked(against=f"the image added {more} prompt tokens: it was not looked at")
        return Asked(proofs=(Proof(where="response", says=f"answered; the image is {more} prompt tokens"),))


FEATURE = Multimodal()
