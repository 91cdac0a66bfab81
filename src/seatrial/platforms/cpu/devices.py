"""The CPU has no device tool: host memory is its device memory."""

from __future__ import annotations

from seatrial.platforms.device_tool import DeviceReading, VersionFile, unknown_output

COMMANDS: tuple[tuple[str, ...], ...] = ()
VERSION_FILES: tuple[VersionFile, ...] = ()


def read(texts: tuple[str, ...]) -> DeviceReading:
    """Never called, since there is no command."""
    raise unknown_output("cpu", f"{len(texts)} texts for a platform without a device tool")
