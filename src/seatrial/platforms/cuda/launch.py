"""Launch on NVIDIA GPUs: the target's own environment and arguments, nothing of ours."""

from __future__ import annotations

from seatrial.platforms.base import LaunchPlan, LaunchRequest, built


def plan(request: LaunchRequest) -> LaunchPlan:
    """As the target says; which devices are seen is left to the user's CUDA_VISIBLE_DEVICES."""
    return built(request)
