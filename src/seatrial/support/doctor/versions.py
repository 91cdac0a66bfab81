"""The version tuple of a stack: what pip knows, and what only the platform's own files and tools know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seatrial.core.finding import Severity
from seatrial.engine.identity import Identity
from seatrial.platforms.device_tool import VersionFile
from seatrial.support.doctor.devices import ToolAnswer, platform_devices
from seatrial.support.doctor.records import Check, checked, could_not_look, finding
from seatrial.support.doctor.stack import StackAnswer

# Asked of every interpreter beside what the probe `identity` reads.
PACKAGES = ("kunlun-ops", "xspeedgate-ops", "mooncake-transfer-engine", "mooncake-transfer-engine-npu", "ray", "numpy")


def stack_of(
    platform: str,
    identity: Identity | None,
    answer: StackAnswer | None,
    tool: ToolAnswer,
    env: Mapping[str, str],
) -> dict[str, str]:
    """Component to version; "unknown: why" for what belongs to the platform and could not be read."""
    stack: dict[str, str] = {}
    if identity is None:
        stack["engine"] = "unknown: the interpreter gave no answer"
    else:
        stack["python"] = identity.python
        stack |= identity.packages
    if answer is not None:
        stack |= {name: version for name, version in answer.versions.items() if name not in stack}
    devices = platform_devices(platform)
    for wanted in devices.VERSION_FILES:
        stack[wanted.component] = read_version(wanted, env)
    if devices.COMMANDS:
        name = devices.COMMANDS[0][0]
        stack[name] = tool.reading.version if tool.reading is not None else f"unknown: {tool.reason}"
    return stack


def read_version(wanted: VersionFile, env: Mapping[str, str]) -> str:
    """The version from the first file that is there, at most 64 KiB of it."""
    for pattern in wanted.paths:
        start, _, rest = pattern.partition("/")
        root = env.get(start[1:], "") if start else "/"
        if not root or not Path(root).is_dir():
            continue
        for file in sorted(Path(root).glob(rest)):
            try:
                with file.open("rb") as stream:
                    text = stream.read(65536).decode(errors="replace")
            except OSError as exc:
                return f"unknown: {file}: {exc.strerror}"
            for line in text.splitlines():
                key, _, value = line.partition("=")
                if key.strip() in wanted.keys and value.strip():
                    return value.strip()
            return f"unknown: {file} has no {' or '.join(wanted.keys)}"
    return f"unknown: no file {wanted.paths[-1]}"


def versions_check(stack: Mapping[str, str]) -> Check:
    """H013: a component of the platform whose version could not be read; the check is then without an answer."""
    lost = {name: why for name, why in stack.items() if why.startswith("unknown")}
    seen = ", ".join(f"{name} {version}" for name, version in stack.items() if name not in lost)
    if not lost:
        return checked("version tuple", seen)
    mend = "Source the toolkit's set_env.sh, and mount the driver's folder and tools into the container."
    notes = [finding("H013", Severity.WARNING, name, f"its version is {why}", mend) for name, why in lost.items()]
    return could_not_look("version tuple", f"{', '.join(lost)}; known: {seen or 'nothing'}", notes)
