"""Pipeline parallelism over two stages."""

from __future__ import annotations

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch


class PipelineParallel(Feature):
    name = "pipeline-parallel"
    title = "Pipeline parallelism"
    positive = (
        Line(
            pattern=r"is assigned as .*PP rank [1-9]",
            source="rank %s in world size %s is assigned as ",
        ),
    )

    def not_applicable(self, model: Model, situation: Situation) -> str:
        layers = model.field("num_hidden_layers")
        if layers is not None and isinstance(layers[1], int) and layers[1] < 2:
            return f"config.json: {layers[0]} is {layers[1]}"
        return ""

    def not_attempted(self, model: Model, situation: Situation) -> str:
        need = 2 * situation.tp
        return f"it needs {need} devices, and there are {situation.devices}" if situation.devices < need else ""

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--pipeline-parallel-size", "2"))


FEATURE = PipelineParallel()
