"""Kunlun's `xpu-smi`: a table after the manner of nvidia-smi, three lines a device, then the processes.

Intel has a tool of the same name; its output has no `XPU-RT Version` and is refused. The lines of devices were read
from captured outputs (tests); the line of a process follows nvidia-smi's, no captured one was at hand.
"""

from __future__ import annotations

import re

from seatrial.platforms.device_tool import DeviceReading, DeviceState, Holder, VersionFile, number, unknown_output

TOOL = "xpu-smi"
COMMANDS: tuple[tuple[str, ...], ...] = ((TOOL,),)
VERSION_FILES: tuple[VersionFile, ...] = ()
HEAD = re.compile(r"\|\s*XPU-SMI\s+Driver Version:\s*(\S+)\s+XPU-RT Version:\s*(\S+)")
DEVICE = re.compile(r"\|\s*(\d{1,6})\s+(\S.*?)\s+(?:N/A|On|Off)\s*\|\s*([0-9A-Fa-f:.]+)\s")
MEMORY = re.compile(r"\|\s*(\d{1,12})MiB\s*/\s*(\d{1,12})MiB\s*\|")
BUSY = re.compile(r"\|\s*(\d{1,3})%\s")
PROCESS = re.compile(r"\|\s*(\d{1,6})\s+\S+\s+\S+\s+(\d{1,12})\s+\S+\s+(\S.*?)\s+(\d+MiB|N/A)\s*\|")


def read(texts: tuple[str, ...]) -> DeviceReading:
    """From the one output of `COMMANDS`."""
    lines = texts[0].splitlines() if texts else []
    head = next((m for m in map(HEAD.search, lines) if m), None)
    if head is None:
        raise unknown_output(TOOL, "it is not Kunlun's (no line with XPU-SMI and XPU-RT Version)")
    devices: list[DeviceState] = []
    holders: list[Holder] = []
    pending: re.Match[str] | None = None
    processes = False
    for line in lines:
        processes = processes or "Processes:" in line
        if processes:
            if found := PROCESS.search(line):
                holders.append(
                    Holder(index=int(found[1]), pid=int(found[2]), name=found[3], memory_mib=number(found[4]))
                )
        elif found := DEVICE.search(line):
            pending = found
        elif pending is not None and (found := MEMORY.search(line)):
            devices.append(
                DeviceState(
                    index=int(pending[1]),
                    label=f"XPU {pending[1]}",
                    name=pending[2],
                    used_mib=int(found[1]),
                    total_mib=int(found[2]),
                    busy_percent=int(busy[1]) if (busy := BUSY.search(line)) else None,
                )
            )
            pending = None  # the line after it is the L3 memory, of no interest here
    if pending is not None:
        raise unknown_output(TOOL, f"no memory line for XPU {pending[1]}")
    return DeviceReading(tool=TOOL, version=head[1], devices=tuple(devices), holders=tuple(holders))
