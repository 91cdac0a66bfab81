"""Quantisation in effect: the checkpoint declares a method, and the engine says that it runs one."""

from __future__ import annotations

import re
from pathlib import Path

from seatrial.gates.facts import GateFacts
from seatrial.gates.features.base import Asked, Feature, Line, Model, Situation

# ModelSlim's own description, which vllm-ascend reads, and ModelOpt's, which vLLM does; their checkpoints need not have
# anything in config.json.
BESIDE = ("quant_model_description.json", "hf_quant_config.json")


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
        folder = Path(situation.checkpoint)
        if _declared(model) or (situation.checkpoint and any((folder / name).is_file() for name in BESIDE)):
            return ""
        return f"config.json: no quantization_config, and no {' or '.join(BESIDE)}"

    def facts(self, gate: GateFacts, model: Model) -> Asked:
        if re.search(r"--quantization[= ]", " ".join(gate.command.argv)):
            return Asked(unsure="--quantization was given: whether the engine finds the method by itself was not tried")
        return Asked()


def _declared(model: Model) -> bool:
    """Whatever the method is called, or if it is named at all: what the engine makes of it is the question."""
    declared = model.field("quantization_config", "compression_config")
    return declared is not None and bool(declared[1])


FEATURE = Quantisation()
