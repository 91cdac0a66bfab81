"""The class of a device's bottleneck, with the figures and thresholds that decided."""

from __future__ import annotations

from seatrial.measure.profile.records import Bottleneck, Measure, Memory, Times
from seatrial.measure.profile.thresholds import BottleneckLimits


def bottleneck(found: Times, memory: Memory, limits: BottleneckLimits) -> Bottleneck:
    """The first exceeded of host, communication, memory, compute; `unclassified` if none is."""
    span = found.span_ns or 1
    moved = (found.copy_ns + memory.kv_cache_ns) / (found.busy_ns or 1)
    measures = (
        _measure("host", found.idle_ns / span, limits.host),
        _measure("communication", found.exposed_communication_ns / span, limits.communication),
        _measure("memory", min(moved, 1.0), limits.memory),
        _measure("compute", found.compute_ns / span, limits.compute),
    )
    kind = next((m.name for m in measures if m.exceeded), "unclassified")
    return Bottleneck(kind=kind, measures=measures)


def _measure(name: str, value: float, threshold: float) -> Measure:
    return Measure(name=name, value=value, threshold=threshold, exceeded=value > threshold)
