"""Tensor parallelism over two ranks at least."""

from __future__ import annotations

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch


class TensorParallel(Feature):
    name = "tensor-parallel"
    title = "Tensor parallelism"
    positive = (
        Line(
            pattern=r"rank 0 in world size (?:[2-9]|\d\d+) is assigned as .*TP rank 0",
            source="rank %s in world size %s is assigned as ",
        ),
    )

    def not_applicable(self, model: Model, situation: Situation) -> str:
        heads = model.field("num_attention_heads")
        if heads is not None and isinstance(heads[1], int) and heads[1] % 2:
            return f"config.json: {heads[0]} is {heads[1]}, which no size above 1 that is a power of two divides"
        return ""

    def not_attempted(self, model: Model, situation: Situation) -> str:
        return "it needs two devices, and there is one" if max(situation.devices, situation.tp) < 2 else ""

    def switch(self, model: Model, situation: Situation) -> Switch | None:
        return Switch(tp=2) if situation.tp < 2 else None


FEATURE = TensorParallel()
