"""Images: a request with one is answered, and it costs prompt tokens that the same text alone does not."""

from __future__ import annotations

import re

from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation
from seatrial.gates.plan import DECLARES, media_of
from seatrial.gates.requests import CHAT, Medium, with_media

# vLLM installs what decodes media only when asked to; without it the first request says so.
MODULE = re.compile(r"No module named '([\w.]+)'")


class Media(Feature):
    """One medium; `video` and `audio` are files of their own."""

    medium: Medium

    def not_applicable(self, model: Model, situation: Situation) -> str:
        return (
            "" if self.medium in media_of(model.config) else f"config.json: none of {', '.join(DECLARES[self.medium])}"
        )

    def ask(self, client: Client, situation: Situation) -> Asked:
        body = with_media(self.medium, client.model).body
        reply = client.post(CHAT, body)
        lacking = MODULE.search(reply.trouble())
        if lacking:
            return Asked(against=f"the engine lacks the package {lacking[1]}: {reply.trouble()}")
        if reply.trouble():
            return Asked(against=reply.trouble())
        words = body["messages"][0]["content"][0]["text"]
        alone = client.post(CHAT, {**body, "messages": [{"role": "user", "content": words}]})
        try:
            more = reply.json()["usage"]["prompt_tokens"] - alone.json()["usage"]["prompt_tokens"]
        except (KeyError, TypeError):
            return Asked()
        if more <= 1:
            return Asked(against=f"the {self.medium} added {more} prompt tokens: it was not looked at")
        return Asked(proofs=(Proof(where="response", says=f"answered; the {self.medium} is {more} prompt tokens"),))


class Multimodal(Media):
    name = "multimodal"
    title = "Images"
    medium = "image"


FEATURE = Multimodal()
