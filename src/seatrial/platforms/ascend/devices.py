"""`npu-smi info`: a table with two lines a device, then a table of processes.

Layouts read (captured outputs in the tests): 910B (`NPU Name` / `Chip`), 910C with two dies a card (`Chip Phy-ID`),
310P (`Chip Device`, no HBM column), 950 (`NPU ID` in a column of its own, no chip). The last `used / total` pair of a
device's second line is its memory: HBM where there is HBM, else the plain memory.
"""

from __future__ import annotations

import re

from seatrial.platforms.device_tool import (
    DeviceReading,
    DeviceState,
    Holder,
    VersionFile,
    number,
    unknown_output,
)

TOOL = "npu-smi"
COMMANDS: tuple[tuple[str, ...], ...] = ((TOOL, "info"),)
# Toolkit: `ascend_toolkit_install.info` beside the toolkit, as vllm-ascend's own collect_env reads it; driver:
# /usr/local/Ascend/driver/version.info, which the official image mounts from the host.
VERSION_FILES: tuple[VersionFile, ...] = (
    VersionFile(
        component="CANN",
        paths=(
            "$ASCEND_TOOLKIT_HOME/*-linux/ascend_toolkit_install.info",
            "$ASCEND_HOME_PATH/*-linux/ascend_toolkit_install.info",
            "/usr/local/Ascend/ascend-toolkit/latest/*-linux/ascend_toolkit_install.info",
            "/usr/local/Ascend/cann/*-linux/ascend_toolkit_install.info",
        ),
        keys=("version",),
    ),
    VersionFile(
        component="Ascend driver", paths=("/usr/local/Ascend/driver/version.info",), keys=("Version", "version")
    ),
)
VERSION = re.compile(r"Version:\s*(\S+)")
PAIR = re.compile(r"(?<!\d)(\d{1,12})\s*/\s*(\d{1,12})(?!\d)")


def read(texts: tuple[str, ...]) -> DeviceReading:
    """From the one output of `COMMANDS`."""
    text = texts[0] if texts else ""
    version = VERSION.search(text)
    if "npu-smi" not in text or version is None:
        raise unknown_output(TOOL, f"it does not name npu-smi and its version: {' '.join(text.split())[:80]!r}")
    upper, lower = _tables(text)
    devices: list[DeviceState] = []
    places: dict[tuple[int, int], int] = {}
    for first, second in zip(upper[::2], upper[1::2], strict=False):
        head = re.match(r"(\d{1,6})(?!\d)\s*(\S*)$", first[0])
        if head is None:
            raise unknown_output(TOOL, f"a device's first line begins with {first[0]!r}")
        own_column = not head[2]  # 950: number and name are columns of their own
        npu = int(head[1])
        chip = number(second[0].split()[0]) if second[0] else 0
        pairs = PAIR.findall(second[-1])
        if chip is None or not pairs:
            raise unknown_output(TOOL, f"a device's second line ends with {second[-1]!r}")
        used, total = (int(n) for n in pairs[-1])
        places[npu, chip] = len(devices)
        devices.append(
            DeviceState(
                index=len(devices),
                label=f"NPU {npu} chip {chip}",
                name=first[1] if own_column else head[2],
                used_mib=used if total else None,
                total_mib=total or None,
                health=first[2 if own_column else 1],
                # AICore(%) is the first figure of the cell that ends with the memory.
                busy_percent=int(busy[1]) if (busy := re.match(r"(\d{1,3})\s", second[-1])) else None,
            )
        )
    if len(upper) % 2:
        raise unknown_output(TOOL, f"an odd number of device lines, {len(upper)}")
    holders = tuple(_holder(row, places) for row in lower)
    return DeviceReading(tool=TOOL, version=version[1], devices=tuple(devices), holders=holders)


def _tables(text: str) -> tuple[list[list[str]], list[list[str]]]:
    """The data rows of the device table and of the process table, cells stripped; headings and notes left out."""
    upper: list[list[str]] = []
    lower: list[list[str]] = []
    current: list[list[str]] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Process id" in line:
            current = lower
        elif "Bus-Id" in line:
            current = upper
        elif current is not None and len(cells) > 2:  # one or two cells: a note such as "No running processes found"
            current.append(cells)
    return upper, lower


def _holder(row: list[str], places: dict[tuple[int, int], int]) -> Holder:
    where = [number(part) for part in row[0].split()]
    npu, chip = where[0] if where else None, where[1] if len(where) > 1 else 0
    pid = number(row[1])
    if npu is None or chip is None or pid is None or (npu, chip) not in places or len(row) < 4:
        raise unknown_output(TOOL, f"a process line is {row}")
    inside = number(row[4]) if len(row) > 4 else None
    return Holder(index=places[npu, chip], pid=pid, name=row[2], memory_mib=number(row[3]), container_pid=inside)
