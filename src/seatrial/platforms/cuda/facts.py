"""Facts of the platform `cuda`."""

from __future__ import annotations

from seatrial.platforms.base import Platform

PLATFORM = Platform(name="cuda", device_type="cuda", plugin="", distribution="", visible_env="CUDA_VISIBLE_DEVICES")
