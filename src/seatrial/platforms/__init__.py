"""Platforms: what makes an engine run on a device. A folder each, all with the same file names; this is the door."""

from __future__ import annotations

import importlib

from seatrial.core.errors import UsageError
from seatrial.platforms.base import Deviation, LaunchPlan, LaunchRequest, ModelTraits

PLATFORMS = ("cpu", "ascend", "kunlun", "cuda")


def launch_plan(platform: str, request: LaunchRequest) -> LaunchPlan:
    """The exact environment and command for a server on `platform`; raises UsageError for an unknown one."""
    if platform not in PLATFORMS:
        raise UsageError(f"unknown platform {platform!r}", mend=f"Known: {', '.join(PLATFORMS)}.")
    module = importlib.import_module(f"seatrial.platforms.{platform}.launch")
    plan: LaunchPlan = module.plan(request)
    return plan


__all__ = ["PLATFORMS", "Deviation", "LaunchPlan", "LaunchRequest", "ModelTraits", "launch_plan"]
