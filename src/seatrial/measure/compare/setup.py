"""What a run was run with, as far as it bears on a comparison: one flat table of named facts.

In: what the caller knows (a workload, a plan, a launch, a target, versions). Out: `Setup`. A fact that nobody knows is
None: two unknowns are not "the same".
"""

from __future__ import annotations

import msgspec

from seatrial.core.record import Record, to_plain
from seatrial.measure.load.dataset import Plan
from seatrial.measure.load.workload import Workload

Fact = str | int | float | bool | None
# What must be known of both sides before anything may be said about their difference.
NEEDED = (
    "model",
    "tokenizer",
    "dtype",
    "quantization",
    "devices",
    "device_order",
    "tensor_parallel",
    "workload.dataset",
    "workload.order",
    "workload.requests",
    "workload.concurrency",
    "workload.rate",
    "workload.warmup",
    "workload.output_tokens",
    "sampling.temperature",
    "sampling.stream",
    "sampling.ignore_eos",
    "sla",
    "profiler_attached",
    "engine",
    "engine.version",
    "tool",
)
# The mark of the profile's own documents (`measure.profile.records`): such a run is no measure of performance.
PROFILED = "profiler_attached"
# The studied engine's own configuration differs between tuned candidates by design; it is shown, and must be declared.
TUNABLE = ("engine", "engine.version", "engine.commit", "plugin.version", "image")
TUNABLE_PREFIXES = ("flag.", "env.")


class Setup(Record):
    """`facts` by name; `label` is what the side is called in tables."""

    label: str
    facts: dict[str, Fact] = msgspec.field(default_factory=dict)

    def get(self, name: str) -> Fact:
        return self.facts.get(name)

    @property
    def is_profiled(self) -> bool:
        """Whether a profiler was attached; unknown is not known to be (`NEEDED` refuses that)."""
        return self.get(PROFILED) is True


def workload_facts(workload: Workload, plan: Plan, tool: str) -> dict[str, Fact]:
    """The workload's side of the table. `workload.order` covers every body that is sent, in its order."""
    load, dataset = workload.load, workload.dataset
    facts: dict[str, Fact] = {
        "tool": tool,
        "workload.dataset": plan.dataset_hash or f"random {dataset.input_tokens} tokens as {dataset.form}",
        "workload.order": plan.order_hash,
        "workload.requests": load.requests,
        "workload.concurrency": load.concurrency,
        "workload.rate": load.rate,
        "workload.arrivals": load.arrivals if load.rate else "closed",
        "workload.warmup": load.warmup,
        "workload.seed": load.seed,
        "workload.api": load.api,
        "workload.prefix_tokens": dataset.prefix_tokens,
        "workload.output_tokens": sum(p.output_tokens for p in plan.requests),
        "sla": "; ".join(sorted(s.name() for s in workload.sla)),
        "sla.count": len(workload.sla),
    }
    for name, value in to_plain(workload.sampling).items():
        facts[f"sampling.{name}"] = "server default" if value is None else value
    return facts
