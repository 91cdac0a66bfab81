"""From --target, --hardware and --memory to the device a plan is for."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.quantity import Quantity, Source
from seatrial.estimate.device import Device, device_for
from seatrial.targets import find_overrides, load_target


def device_of(target: str, hardware: str | None, memory_gib: float | None) -> Device:
    """The device; --memory wins over --hardware, which wins over what the target names."""
    # The default target is no choice of the user: with --hardware it does not contradict another platform.
    chosen = None if hardware and target == "cpu" else load_target(target, find_overrides(Path.cwd())).target
    memory = None
    if memory_gib is not None:
        memory = Quantity(value=int(memory_gib * 1024**3), unit="bytes", source=Source.DECLARED, note="--memory")
    return device_for(chosen, hardware, memory)
