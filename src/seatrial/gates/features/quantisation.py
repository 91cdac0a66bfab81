"""Quantisation in effect: the method the checkpoint declares is the one the engine says it runs."""

from __future__ import annotations

import re

from seatrial.gates.facts import GateFacts
from seatrial.gates.features.base import Asked, Feature, Line, Model, Situation


class Quantisation(Feature):
    name = "quantisation"
    title = "Quantisation in effect"
    positive = (
        Line(
            pattern=r"Using the vLLM Ascend \w+ Quantization now",
            source="Using the vLLM Ascend",
        ),
        Line(
            pattern=r"Initializing a V1 LLM engine .*quantization=(?!None\b)[\w-]+",
            source="quantization={self.model_config.quantization}",
        ),
    )

    def not_applicable(self, model: Model, situation: Situation) -> str:
        return "" if _method(model) else "config.json: no quantization_config"

    def facts(self, gate: GateFacts, model: Model) -> Asked:
        if re.search(r"--quantization[= ]", " ".join(gate.command.argv)):
            return Asked(against="--quantization was given: the engine did not detect it by itself")
        return Asked()


def _method(model: Model) -> str:
    declared = model.field("quantization_config", "compression_config")
    return str(declared[1].get("quant_method", "")) if declared and isinstance(declared[1], dict) else ""


FEATURE = Quantisation()
