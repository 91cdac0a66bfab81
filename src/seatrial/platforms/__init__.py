"""Platforms: what makes vLLM run on a device. A folder each, all with the same file names; this is the only door."""

from seatrial.core.registry import Registry
from seatrial.platforms.ascend.facts import PLATFORM as ASCEND
from seatrial.platforms.base import Platform
from seatrial.platforms.cpu.facts import PLATFORM as CPU
from seatrial.platforms.cuda.facts import PLATFORM as CUDA
from seatrial.platforms.kunlun.facts import PLATFORM as KUNLUN

PLATFORMS: Registry[Platform] = Registry("platform")
for _platform in (CPU, ASCEND, KUNLUN, CUDA):
    PLATFORMS.add(_platform.name, _platform)


def platform(name: str) -> Platform:
    """The platform of that name; raises UsageError with the known ones."""
    return PLATFORMS.get(name)


__all__ = ["PLATFORMS", "Platform", "platform"]
