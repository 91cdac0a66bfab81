"""Facts of the platform `ascend`."""

from __future__ import annotations

from seatrial.platforms.base import Platform

PLATFORM = Platform(
    name="ascend",
    device_type="npu",
    plugin="ascend",
    distribution="vllm-ascend",
    visible_env="ASCEND_RT_VISIBLE_DEVICES",
)
