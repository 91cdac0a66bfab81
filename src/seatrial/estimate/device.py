"""The device that a plan is for: its memory, how many there are, and the hardware file with its peaks.

In: a target, a hardware, an amount of memory; whatever is named. Out: `Device`. Memory that nobody states is unknown,
with what to name.
"""

from __future__ import annotations

from seatrial.core.errors import UsageError
from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.core.record import Record
from seatrial.targets import Target
from seatrial.targets.hardware import Hardware, load_hardware


class Device(Record):
    """`memory` in bytes per device; `hardware` is None where only an amount of memory was named."""

    platform: str
    memory: Quantity
    words: str
    most_devices: int
    hardware: Hardware | None = None


def device_for(target: Target | None, hardware: str | None = None, memory: Quantity | None = None) -> Device:
    """`memory` wins over `hardware`, which wins over what the target says (`hardware.memory` in bytes, `device`).

    Raises UsageError for an unknown hardware, and for one of another platform than the target's.
    """
    named = hardware or (target.device if target is not None else "")
    found = load_hardware(named) if named else None
    platform = target.platform if target is not None else found.platform if found is not None else "cpu"
    if found is not None and found.platform != platform:
        said = f"--hardware {hardware}" if hardware else f"the target's device {named!r}"
        raise UsageError(
            f"{said} belongs to {found.platform}, target {target.name if target else ''!r} to {platform}",
            mend="Name a target and a hardware of one platform.",
        )
    count = found.devices_per_server.value if found is not None else None
    if target is not None and (count is None or not hardware):
        # A target says how many of its devices may be used; a hardware alone how many a server has.
        count = target.devices.count.value or count
    amount = memory
    if amount is None and not hardware and target is not None:
        amount = target.hardware.get("memory")
    if amount is None:
        amount = found.memory if found is not None else unknown("bytes", "name --hardware or --memory")
        if amount.value is None and platform == "cpu":
            amount = host_memory()
    words = found.description if found is not None else f"target {target.name if target else 'unknown'}"
    return Device(platform=platform, memory=amount, words=words, most_devices=int(count or 1), hardware=found)


def host_memory() -> Quantity:
    """This machine's memory."""
    import psutil

    total = int(psutil.virtual_memory().total)
    return Quantity(value=total, unit="bytes", source=Source.MEASURED, note="this machine's memory")
