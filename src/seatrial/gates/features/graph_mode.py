"""Graph capture and, what counts, replay: without --enforce-eager, with the engine's own count of graph runs."""

from __future__ import annotations

from seatrial.gates.features.base import Feature, Line, Model, Situation, Switch


class GraphMode(Feature):
    name = "graph-mode"
    title = "Graph capture and replay"
    # Capture is no proof of replay: only lines printed when a graph was run count. vllm-ascend prints the first on
    # its V1 model runner and the second on V2; the table is vLLM's, with --cudagraph-metrics.
    positive = (
        Line(pattern=r"Replaying aclgraph", source="Replaying aclgraph"),
        Line(pattern=r"run_fullgraph with num_tokens=", source="run_fullgraph with num_tokens="),
        Line(pattern=r"\*\*CUDAGraph Stats:\*\*", source="**CUDAGraph Stats:**"),
    )
    negative = (
        Line(pattern=r"cudagraph_mode is not support on NPU", source="cudagraph_mode is not support on NPU"),
        Line(
            pattern=r"Compilation disabled, using eager mode by default",
            source="Compilation disabled, using eager mode by default",
        ),
    )

    def not_applicable(self, model: Model, situation: Situation) -> str:
        return "platform cpu: vLLM has no graph capture there" if situation.platform == "cpu" else ""

    def switch(self, model: Model, situation: Situation) -> Switch:
        return Switch(args=("--cudagraph-metrics",), drop=("enforce-eager",))


FEATURE = GraphMode()
