"""Facts of the platform `cpu`."""

from __future__ import annotations

from seatrial.platforms.base import Platform

PLATFORM = Platform(name="cpu", device_type="cpu", plugin="", distribution="", visible_env="")
