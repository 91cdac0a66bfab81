"""Platforms: what makes an engine run on a device. A folder each, all with the same file names; the only door."""

from __future__ import annotations

import importlib

from seatrial.core.registry import Registry
from seatrial.platforms.ascend.facts import PLATFORM as ASCEND
from seatrial.platforms.base import Deviation, LaunchPlan, LaunchRequest, ModelTraits, Platform
from seatrial.platforms.cpu.facts import PLATFORM as CPU
from seatrial.platforms.cuda.facts import PLATFORM as CUDA
from seatrial.platforms.kunlun.facts import PLATFORM as KUNLUN

PLATFORMS: Registry[Platform] = Registry("platform")
for _platform in (CPU, ASCEND, KUNLUN, CUDA):
    PLATFORMS.add(_platform.name, _platform)


def platform(name: str) -> Platform:
    """The platform of that name; raises UsageError with the known ones."""
    return PLATFORMS.get(name)


def launch_plan(name: str, request: LaunchRequest) -> LaunchPlan:
    """The exact environment and command for a server on that platform; raises UsageError for an unknown one."""
    module = importlib.import_module(f"seatrial.platforms.{platform(name).name}.launch")
    plan: LaunchPlan = module.plan(request)
    return plan


__all__ = [
    "PLATFORMS",
    "Deviation",
    "LaunchPlan",
    "LaunchRequest",
    "ModelTraits",
    "Platform",
    "launch_plan",
    "platform",
]
