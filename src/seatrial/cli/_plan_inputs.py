"""From --target, --hardware and --memory to the device a plan is for."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import UsageError
from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.core.record import Record
from seatrial.targets import find_overrides, load_target
from seatrial.targets.hardware import Hardware, load_hardware


class Device(Record):
    """`memory` in bytes per device; `hardware` is None where only an amount of memory was named."""

    platform: str
    memory: Quantity
    words: str
    most_devices: int
    hardware: Hardware | None = None


def device_of(target: str, hardware: str | None, memory_gib: float | None) -> Device:
    """The device; --memory wins over --hardware, which wins over the target's own figure."""
    found = load_hardware(hardware) if hardware else None
    chosen = load_target(target, find_overrides(Path.cwd())).target if found is None or target != "cpu" else None
    platform = chosen.platform if chosen is not None else found.platform if found is not None else "cpu"
    if found is not None and found.platform != platform:
        raise UsageError(
            f"--hardware {hardware} belongs to {found.platform}, target {target!r} to {platform}",
            mend="Name a target and a hardware of one platform.",
        )
    count = found.devices_per_server.value if found is not None else None
    if count is None and chosen is not None:
        count = chosen.devices.count.value
    if memory_gib is not None:
        amount = Quantity(value=int(memory_gib * 1024**3), unit="bytes", source=Source.DECLARED, note="--memory")
    elif found is not None:
        amount = found.memory
        if amount.value is None and platform == "cpu":
            amount = host_memory()
    elif chosen is not None and "memory" in chosen.hardware:
        amount = chosen.hardware["memory"]
    else:
        amount = host_memory() if platform == "cpu" else unknown("bytes", "name --hardware or --memory")
    words = found.description if found is not None else f"target {target}"
    return Device(platform=platform, memory=amount, words=words, most_devices=int(count or 1), hardware=found)


def host_memory() -> Quantity:
    """This machine's memory."""
    import psutil

    total = int(psutil.virtual_memory().total)
    return Quantity(value=total, unit="bytes", source=Source.MEASURED, note="this machine's memory")
