"""A profile beside the planner's bounds: per component and phase, measured time, the least possible, MFU and MBU.

In: a report with steps, a model laid out (`estimate.compute.Work`), a device. Out: `Join`. The bound of a component is
that of one step of the phase's median batch; measured is the component's covered time a step on the busiest device.
Components are families: dense products (gemm), routed experts (moe), attention proper, linear attention, the wire.
MFU = FLOPs / (time x peak), MBU = bytes / (time x bandwidth). Taken with a profiler attached: they explain, no more.
"""

from __future__ import annotations

from statistics import median

from seatrial.core.record import Record
from seatrial.estimate.compute import Part, Work
from seatrial.estimate.roofline import Line, Rates, bound, rates
from seatrial.measure.profile.records import DeviceReport, PhaseRow, ProfileReport, RankReport, Step
from seatrial.targets.hardware import Hardware

# The planner's parts by the family that their kernels are rolled up in; every other part is a dense product.
FAMILY_OF_PART = {
    "experts": "moe",
    "attention core": "attention",
    "linear-attention core": "linear attention",
    "embedding": "embedding",
    "all-reduce (TP)": "communication",
    "logits gather (TP)": "communication",
    "all-to-all (EP)": "communication",
    "gather and scatter (DP)": "communication",
    "stage hand-over (PP)": "communication",
}


class Component(Record):
    """One family in one phase; seconds a step. `of_bound` is bound / measured, so 1 is the best there can be."""

    phase: str
    component: str
    measured_s: float | None
    bound_s: float | None
    of_bound: float | None
    mfu: float | None
    mbu: float | None
    binding: str
    why: str = ""


class Join(Record):
    """The rows, and what could not be joined and why."""

    rank: int
    context_tokens: int
    rows: tuple[Component, ...]
    unknown: tuple[str, ...]
    profiler_attached: bool = True
    schema_version: int = 1


def join(report: ProfileReport, work: Work, hardware: Hardware, context_tokens: int) -> Join:
    """`context_tokens` is the mean number of cached tokens of a decoding request, which a trace seldom says."""
    rank = max(report.ranks, key=lambda r: r.pipeline.steps, default=None)
    if rank is None or not rank.pipeline.steps or not rank.devices:
        return Join(rank=-1, context_tokens=context_tokens, rows=(), unknown=("no steps were found in the profile",))
    device = max(rank.devices, key=lambda d: d.times.busy_ns)
    given = rates(hardware, work)
    unknown = [f"hardware {hardware.name}: {field} is unknown" for field in given.lacking]
    rows: list[Component] = []
    for phase in rank.pipeline.phases:
        parts = _parts(rank, phase, work, context_tokens)
        if parts is None:
            unknown.append(f"{phase.phase}: its steps do not say requests and tokens")
            continue
        lines = bound(parts, given).lines
        rows += _phase(phase, lines, given, device)
    return Join(rank=rank.rank, context_tokens=context_tokens, rows=tuple(rows), unknown=tuple(unknown))


def _parts(rank: RankReport, phase: PhaseRow, work: Work, context: int) -> tuple[Part, ...] | None:
    mine = [s for s in rank.pipeline.first_steps if s.phase == phase.phase]
    if phase.phase == "decode":
        batch = _middle(mine, "generation_requests")
        tokens = _middle(mine, "generation_tokens")
        if not batch or not tokens:
            return None
        return work.step(batch, max(tokens / batch, 1), context, decode=True)
    if phase.phase == "prefill":
        batch = _middle(mine, "context_requests")
        tokens = _middle(mine, "context_tokens")
        return work.step(batch, tokens / batch, 0) if batch and tokens else None
    return None


def _middle(steps: list[Step], field: str) -> float | None:
    values = [v for s in steps if (v := getattr(s, field)) is not None]
    return float(median(values)) if values else None


def _phase(phase: PhaseRow, lines: tuple[Line, ...], given: Rates, device: DeviceReport) -> list[Component]:
    measured = {f.family: f.covered_ns / phase.steps / 1e9 for f in phase.families}
    grouped: dict[str, list[Line]] = {}
    for line in lines:
        grouped.setdefault(FAMILY_OF_PART.get(line.part, "gemm"), []).append(line)
    out = []
    for family, own in grouped.items():
        took = measured.get(family)
        least = None if any(x.seconds is None for x in own) else sum(x.seconds or 0.0 for x in own)
        flops, read = sum(x.flops for x in own), sum(x.read_bytes for x in own)
        # Work in several precisions has no one peak; the widest that is needed makes MFU an upper bound of itself.
        peak = min(given.peak.values(), default=None)
        where = "the host" if device.device < 0 else f"device {device.device}"
        out.append(
            Component(
                phase=phase.phase,
                component=family,
                measured_s=took,
                bound_s=least,
                of_bound=least / took if least is not None and took else None,
                mfu=flops / (took * peak) if took and peak and flops else None,
                mbu=read / (took * given.memory) if took and given.memory and read else None,
                binding=max(own, key=lambda x: x.seconds or 0.0).binding,
                why="" if took is not None else f"no kernel of this family on {where} in this phase",
            )
        )
    return out
