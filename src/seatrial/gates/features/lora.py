"""LoRA adapters: not tried yet, and the matrix says so."""

from __future__ import annotations

from seatrial.gates.features.base import Feature, Model, Situation


class Lora(Feature):
    name = "lora"
    title = "LoRA"

    def not_attempted(self, model: Model, situation: Situation) -> str:
        return "seatrial does not make an adapter for it yet"


FEATURE = Lora()
