"""Lower bounds of time from FLOPs, bytes and the device's peaks; what binds each part.

In: the parts of a step, a device. Out: `Bound`. Every part takes at least max(FLOPs / peak, bytes / bandwidth); a
step at
least the sum over its parts, or the wire time where that is longer (perfect overlap). No real run can be faster,
which is
what a lower bound is for; what a run reaches of it is MFU and MBU. A peak that is unknown makes the bound unknown
and is
named by its field.
"""

from __future__ import annotations

from typing import Literal

from seatrial.core.quantity import Quantity
from seatrial.core.record import Record
from seatrial.estimate.compute import Part, Work
from seatrial.targets.hardware import Hardware

# Where a device has no figure for a narrower format its weights are widened before the product: the next one counts.
FALLBACK = {"fp4": ("fp4", "fp8", "bf16", "fp16"), "fp8": ("fp8", "bf16", "fp16"), "bf16": ("bf16", "fp16")}
Binding = Literal["compute", "memory", "wire"]


class Rates(Record):
    """Peaks used, in operations or bytes per second. `lacking` names the hardware fields that are unknown."""

    peak: dict[str, float]
    memory: float | None
    wire: float | None
    lacking: tuple[str, ...]


class Line(Record):
    """One part: its FLOPs and bytes, the intensity (FLOPs per byte), the time it takes at least, what binds it."""

    part: str
    flops: float
    read_bytes: float
    wire_bytes: float
    intensity: float | None
    seconds: float | None
    binding: Binding


class Bound(Record):
    """A step. `seconds` None: `lacking` says which field of the hardware is unknown."""

    lines: tuple[Line, ...]
    flops: float
    read_bytes: float
    wire_bytes: float
    seconds: float | None
    binding: Binding | None
    lacking: tuple[str, ...]


def rates(hardware: Hardware, work: Work) -> Rates:
    """The peaks that this model's parts need. Measured ones win over declared ones only where a bound is not asked."""
    needed = {x.precision for x in work.linears} | {x.precision for x in work.experts} | {"bf16"}
    peak: dict[str, float] = {}
    lacking: list[str] = []
    for precision in sorted(needed):
        found = [_value(hardware.peak.get(name)) for name in FALLBACK.get(precision, (precision,))]
        value = next((v for v in found if v is not None), None)
        if value is None:
            lacking.append(f"peak.{precision}")
        else:
            peak[precision] = value
    memory = _value(hardware.memory_bandwidth)
    wire = _value(hardware.link_bandwidth)
    lacking += ["memory_bandwidth"] if memory is None else []
    lacking += ["link_bandwidth"] if wire is None and work.layout.devices() > 1 else []
    return Rates(peak=peak, memory=memory, wire=wire, lacking=tuple(lacking))


def _value(quantity: Quantity | None) -> float | None:
    return None if quantity is None or quantity.value is None else float(quantity.value)


def bound(parts: tuple[Part, ...], given: Rates) -> Bound:
    """The step's lower bound on one device."""
    lines = tuple(_line(p, given) for p in parts)
    device = [x.seconds for x in lines if x.binding != "wire"]
    wire = [x.seconds for x in lines if x.binding == "wire"]
    seconds: float | None = None
    binding: Binding | None = None
    if not any(s is None for s in device + wire):
        busy = sum(s or 0.0 for s in device)
        sent = sum(s or 0.0 for s in wire)
        seconds = max(busy, sent)
        compute = sum(x.seconds or 0.0 for x in lines if x.binding == "compute")
        binding = "wire" if sent > busy else "compute" if compute * 2 > busy else "memory"
    return Bound(
        lines=lines,
        flops=float(sum(x.flops for x in lines)),
        read_bytes=float(sum(x.read_bytes for x in lines)),
        wire_bytes=float(sum(x.wire_bytes for x in lines)),
        seconds=seconds,
        binding=binding,
        lacking=given.lacking,
    )


def _line(part: Part, given: Rates) -> Line:
    # Activations stay on chip at best: a lower bound counts only what must come from memory.
    read = float(part.weight_bytes + part.cache_bytes)
    flops, sent = float(part.flops), float(part.wire_bytes)
    binding: Binding = "wire" if sent else "memory"
    seconds: float | None
    if sent:
        seconds = sent / given.wire if given.wire else None
    else:
        peak = given.peak.get(part.precision)
        compute = flops / peak if peak else None
        memory = read / given.memory if given.memory else None
        seconds = None if compute is None or memory is None else max(compute, memory)
        if compute is not None and memory is not None and compute > memory:
            binding = "compute"
    return Line(
        part=part.part, flops=flops, read_bytes=read, wire_bytes=sent, intensity=flops / read if read else None,
        seconds=seconds, binding=binding,
    )  # fmt: skip


class Speed(Record):
    """Bounds for a load: `batch` requests per replica of `prompt` tokens in and `output` out, on `devices` devices.

    `ttft_s`: one prompt alone, at least. `tpot_s`: a decode step at full batch and mean context, at least.
    Throughput at
    most, in output tokens per second, all devices together and per device.
    """

    batch: int
    prompt: int
    output: int
    devices: int
    prefill: Bound
    decode: Bound
    ttft_s: float | None
    tpot_s: float | None
    tokens_per_s: float | None
    tokens_per_s_device: float | None


def speed(
    work: Work, hardware: Hardware, *, batch: int, prompt: int, output: int, spec: int = 0, accept: float = 0.0,
    tower: tuple[Part, ...] = (),
) -> Speed:  # fmt: skip
    """Bounds of the load; `tower` is what a prompt's images take before the language model.

    With `spec` drafted tokens, each accepted with probability `accept`, a step yields (1 - a^(d+1)) / (1 - a) tokens
    and verifies d + 1 (the draft model's own cost is not in the bound).
    """
    given = rates(hardware, work)
    prefill = bound((*tower, *work.step(1, prompt, 0)), given)
    decode = bound(work.step(batch, 1 + spec, prompt + output // 2, decode=True), given)
    stages = work.layout.pp
    per_step = spec + 1 if accept >= 1 else (1 - accept ** (spec + 1)) / (1 - accept)
    tpot = None if decode.seconds is None else decode.seconds / per_step
    # A stage works while the others do: the bound of one token passes all stages, that of throughput only one.
    rate = None if not tpot else batch * work.layout.dp * stages / tpot
    devices = work.layout.devices()
    return Speed(
        batch=batch, prompt=prompt, output=output, devices=devices, prefill=prefill, decode=decode,
        ttft_s=prefill.seconds, tpot_s=tpot, tokens_per_s=rate,
        tokens_per_s_device=None if rate is None else rate / devices,
    )  # fmt: skip
