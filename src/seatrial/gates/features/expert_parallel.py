"""Expert parallelism: each rank holds some of the experts. Only for models with experts."""

from __future__ import annotations

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch


class ExpertParallel(Feature):
    name = "expert-parallel"
    title = "Expert parallelism"
    positive = (
        # The size must be above 1: the line is printed for a single rank too, where nothing is parallel.
        Line(
            pattern=r"\[EP Rank \d+/(?:[2-9]|\d\d+)\] Expert parallelism is enabled",
            source="] Expert parallelism is enabled. Expert ",
        ),
    )

    def not_applicable(self, model: Model, situation: Situation) -> str:
        return "" if model.experts() else "config.json: no field counts more than one expert"

    def not_attempted(self, model: Model, situation: Situation) -> str:
        return "it needs two devices, and there is one" if max(situation.devices, situation.tp) < 2 else ""

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--enable-expert-parallel",), tp=max(2, situation.tp))


FEATURE = ExpertParallel()
