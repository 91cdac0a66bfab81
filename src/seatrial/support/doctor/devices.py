"""The devices: are there enough, are they well, is the memory that vLLM will ask for free, and who holds it.

The tool is run here, with the output bounded; `judge` works on what it said.
"""

from __future__ import annotations

import importlib
import math
import shutil
import subprocess
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.platforms.device_tool import DeviceReading, DeviceState, Holder
from seatrial.support.doctor.records import Check, checked, could_not_look, does_not_apply, finding
from seatrial.support.doctor.sizes import sizes_of
from seatrial.targets import Target

NAME = "device memory"
MOST_OUTPUT = 4 * 1024 * 1024
TIMEOUT_S = 60
WELL = {"", "OK", "Normal"}


class ToolAnswer(Record):
    """What came of running the tool: a reading, or the reason why there is none (`absent`: it is not installed)."""

    reading: DeviceReading | None = None
    reason: str = ""
    absent: bool = False


def platform_devices(platform: str) -> ModuleType:
    """The platform's `devices` file."""
    return importlib.import_module(f"seatrial.platforms.{platform}.devices")


def run_tool(platform: str) -> ToolAnswer:
    """Run the platform's commands; a missing tool, a failure and an unknown output are answers."""
    tool = platform_devices(platform)
    texts = []
    for command in tool.COMMANDS:
        program = shutil.which(command[0])
        if program is None:
            return ToolAnswer(reason=f"{command[0]} is not on PATH", absent=True)
        try:
            done = subprocess.run([program, *command[1:]], capture_output=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return ToolAnswer(reason=f"{command[0]} gave no answer within {TIMEOUT_S} s")
        except OSError as exc:
            return ToolAnswer(reason=f"{command[0]} cannot be started: {exc.strerror or exc}")
        text = done.stdout[:MOST_OUTPUT].decode(errors="replace")
        if done.returncode != 0:
            said = " ".join((text + done.stderr[:4096].decode(errors="replace")).split())[:200]
            return ToolAnswer(reason=f"{command[0]} ended with exit code {done.returncode}: {said}")
        texts.append(text)
    try:
        return ToolAnswer(reading=tool.read(tuple(texts)))
    except FileFormatError as exc:
        return ToolAnswer(reason=exc.message)


def devices_check(
    target: Target, answer: ToolAnswer, env: Mapping[str, str], default_share: float | None, unknown: str = ""
) -> Check:
    """H040 to H047; `default_share` is vLLM's own --gpu-memory-utilization, None if not known (`unknown`: why)."""
    if not platform_devices(target.platform).COMMANDS:
        return does_not_apply(NAME, f"platform {target.platform!r} has no device memory of its own")
    if answer.reading is None:
        code, mend = "H041", "Run it by hand; check the driver."
        if answer.absent:
            code, mend = "H040", "Install the driver's tools, or mount them into the container."
        note = finding(code, Severity.WARNING, target.platform, f"the devices cannot be seen: {answer.reason}", mend)
        return could_not_look(NAME, answer.reason, [note])
    return judge(target, answer.reading, env, default_share, unknown)


def judge(
    target: Target, reading: DeviceReading, env: Mapping[str, str], default_share: float | None, why: str = ""
) -> Check:
    """The reading against what the target wants of it; `why`: of a default share that is not known."""
    found: list[Finding] = []
    chosen = _visible(target, reading, env, found)
    args = target.serve.args
    wanted = sizes_of(target).devices
    if len(chosen) < wanted:
        message = f"{len(chosen)} of {len(reading.devices)} devices are visible, the target's arguments take {wanted}"
        mend = f"Lower the parallel sizes in serve.args, or widen {target.devices.visible_env or 'what is visible'}."
        found.append(finding("H042", Severity.ERROR, reading.tool, message, mend))
    # vLLM takes the first of those that are visible; what the others are like stands in nobody's way.
    taken = chosen[:wanted]
    for device in chosen:
        if device.health not in WELL:
            mild = device.health.lower() == "warning" or device not in taken
            grave = Severity.WARNING if mild else Severity.ERROR
            message = f"{reading.tool} reports health {device.health!r}"
            mend = "Look at the driver's log and the device's error codes; choose another device meanwhile."
            found.append(finding("H043", grave, device.label, message, mend))
    share, said = _share(args.get("gpu-memory-utilization"), default_share)
    unknown = [d.label for d in taken if d.used_mib is None or d.total_mib is None]
    for device in taken:
        found += _memory(device, reading, share)
    found += _shared_port(target, reading, taken, env)
    seen = f"{reading.tool} {reading.version}: " + ", ".join(_free(d) for d in taken[:16])
    if len(chosen) > len(taken):
        seen += f"; {len(chosen) - len(taken)} more visible and not taken"
    if said:
        mend = "Set it to a number above 0 and up to 1."
        found.append(finding("H046", Severity.ERROR, "serve.args: gpu-memory-utilization", said, mend))
        return could_not_look(NAME, said, found)
    if unknown:
        return could_not_look(NAME, f"{reading.tool} gives no memory of {', '.join(unknown)}", found)
    if share is None:
        note = "vLLM's default of --gpu-memory-utilization could not be read" + (f" ({why})" if why else "")
        return could_not_look(NAME, f"{note}; {seen}", found)
    return checked(NAME, seen, found)


class Share(NamedTuple):
    """The share of memory vLLM will ask for, None if not known; or what is wrong with the target's own."""

    value: float | None
    wrong: str = ""


def _share(given: object, default: float | None) -> Share:
    if given is None:
        return Share(default)
    try:
        value = float(str(given))
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        return Share(None, f"gpu-memory-utilization is {given!r}, no share of the memory")
    return Share(value)


def _visible(target: Target, reading: DeviceReading, env: Mapping[str, str], found: list[Finding]) -> list[DeviceState]:
    name = target.devices.visible_env
    text = env.get(name) if name else None
    if text is None:
        return list(reading.devices)
    by_index = {str(d.index): d for d in reading.devices}
    # CUDA takes the beginning of a UUID too.
    by_uuid = {p: [d for d in reading.devices if p and d.uuid.startswith(p)] for p in map(str.strip, text.split(","))}
    chosen: list[DeviceState] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        if part in by_index:
            chosen.append(by_index[part])
        elif len(by_uuid[part]) == 1:
            chosen += by_uuid[part]
        else:
            message = f"{name}={text} names {part!r}; there are devices 0 to {len(reading.devices) - 1}"
            mend = f"Set {name} to indices that are there."
            found.append(finding("H044", Severity.ERROR, name, message, mend))
    once = list({d.index: d for d in chosen}.values())
    if len(once) < len(chosen):
        message = f"{name}={text} names a device twice; there are {len(once)} in it"
        found.append(finding("H044", Severity.ERROR, name, message, f"Name each device once in {name}."))
    return once


def _memory(device: DeviceState, reading: DeviceReading, share: float | None) -> list[Finding]:
    held = [h for h in reading.holders if h.index == device.index]
    who = "; ".join(_holder(h) for h in held[:6])
    found = []
    if held:
        message = f"held by {len(held)} processes: {who}"
        mend = "Stop those that are yours and idle; seatrial ends none."
        found.append(finding("H045", Severity.INFO, device.label, message, mend))
    if share is None or device.used_mib is None or device.total_mib is None:
        return found
    free, wanted = device.total_mib - device.used_mib, share * device.total_mib
    if free < wanted:
        whose = who or "no process is shown; it may run in another container"
        message = f"{free} of {device.total_mib} MiB are free, vLLM demands {wanted:.0f} ({share:g} of all); {whose}"
        mend = f"Free the device, or set gpu-memory-utilization below {free / device.total_mib:.2f} in serve.args."
        found.append(finding("H046", Severity.ERROR, device.label, message, mend))
    return found


def _shared_port(
    target: Target, reading: DeviceReading, chosen: list[DeviceState], env: Mapping[str, str]
) -> list[Finding]:
    """Two services on one NPU both take its port 16666 (vllm-ascend#11968; CANN 9.0 envref_07_0144)."""
    busy = sorted({h.index for h in reading.holders} & {d.index for d in chosen})
    several = len(chosen) > 1
    if target.platform != "ascend" or not busy or not several or "HCCL_NPU_SOCKET_PORT_RANGE" in env:
        return []
    message = f"other processes use devices {', '.join(map(str, busy))}; HCCL takes port 16666 of an NPU only once"
    mend = "Choose free NPUs, or set HCCL_NPU_SOCKET_PORT_RANGE=auto in launch.env (not on A2 with MC2 operators)."
    return [finding("H047", Severity.WARNING, "HCCL_NPU_SOCKET_PORT_RANGE", message, mend)]


def _holder(holder: Holder) -> str:
    memory = f"{holder.memory_mib} MiB" if holder.memory_mib is not None else "memory not given"
    inside = f", {holder.container_pid} in its container" if holder.container_pid is not None else ""
    return f"{holder.pid}{inside} ({holder.name}, {memory})"


def _free(device: DeviceState) -> str:
    if device.used_mib is None or device.total_mib is None:
        return f"{device.label} unknown"
    return f"{device.label} {device.total_mib - device.used_mib} of {device.total_mib} MiB free"
