"""What a platform's device tool (npu-smi, xpu-smi, nvidia-smi) says, in records that are the same for all of them.

`platforms/<name>/devices.py` holds `COMMANDS` (what to run; empty: there is no such tool), `read(texts)` from their
outputs to a `DeviceReading`, and `VERSION_FILES`. Memory is in MiB; the tools say MB where they mean MiB. A value the
tool does not give is None, never 0. `read` raises FileFormatError for an output it does not know.
"""

from __future__ import annotations

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record


class DeviceState(Record):
    """One device. `index` counts the devices in the tool's order, as the visible-devices variable does.

    `label` is the tool's own name of the place ("NPU 4 chip 0"); `health` its own word, "" if it gives none;
    `busy_percent` how much its compute units work at this moment; `uuid` another name that the variable takes, or "".
    """

    index: int
    label: str
    name: str
    used_mib: int | None
    total_mib: int | None
    health: str = ""
    busy_percent: int | None = None
    uuid: str = ""


class Holder(Record):
    """A process that holds memory of a device. `pid` is the host's; `container_pid` the one seen in the container."""

    index: int
    pid: int
    name: str
    memory_mib: int | None
    container_pid: int | None = None


class DeviceReading(Record):
    """One look with the tool; `version` is the tool's or driver's own."""

    tool: str
    version: str
    devices: tuple[DeviceState, ...]
    holders: tuple[Holder, ...]


class VersionFile(Record):
    """Where a component that pip does not know says its version: `key=value` lines of the first file that is there.

    `paths` are glob patterns; `$NAME` at the start is an environment variable.
    """

    component: str
    paths: tuple[str, ...]
    keys: tuple[str, ...]


def number(text: str) -> int | None:
    """`97887 MiB`, `97887` or `12 %` as an integer; None for `[N/A]`, `NA`, `-` and the like."""
    digits = text.strip().removesuffix("MiB").removesuffix("%").strip()
    return int(digits) if digits.isdecimal() and len(digits) <= 12 else None


def unknown_output(tool: str, why: str) -> FileFormatError:
    """The error of a `read` that does not know the output."""
    return FileFormatError(f"output of {tool}: {why}", mend=f"Run {tool} by hand; report its output if it looks right.")
