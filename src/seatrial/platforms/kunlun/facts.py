"""Facts of the platform `kunlun`."""

from __future__ import annotations

from seatrial.platforms.base import Platform

# vLLM-Kunlun names its device "cuda" although is_cuda() is false there.
PLATFORM = Platform(
    name="kunlun", device_type="cuda", plugin="kunlun", distribution="vllm-kunlun", visible_env="XPU_VISIBLE_DEVICES"
)
