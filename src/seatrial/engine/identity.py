"""What an engine says of itself, through the `identity` probe, and what is wrong with it."""

from __future__ import annotations

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.engine.border import ProbeReply


class PluginEntry(Record):
    """One entry point of the engine's plugin groups."""

    group: str
    name: str
    target: str


class Identity(Record):
    """The engine's answer. Fields are None where the thing could not be imported; the `_error` beside says why."""

    python: str
    executable: str
    packages: dict[str, str]
    vllm_version: str | None
    vllm_file: str | None
    vllm_error: str | None
    device_type: str | None
    platform_class: str | None
    platform_error: str | None
    torchvision_error: str | None
    plugins: tuple[PluginEntry, ...]


def examine(reply: ProbeReply, expected_device: str | None) -> list[Finding]:
    """Findings E001…E005 about an engine; `expected_device` is the device type its platform must activate."""
    if reply.status != "answered":
        return [_error("E001", reply.log, reply.trouble(), "Run the interpreter by hand and import vllm.")]
    identity = reply.decode(Identity)
    place = identity.executable
    found: list[Finding] = []
    if identity.vllm_error is not None:
        found.append(_error("E002", place, f"vLLM cannot be imported: {identity.vllm_error}", "See the probe's log."))
        return found
    if identity.platform_error is not None or identity.device_type is None:
        why = identity.platform_error or "no platform was activated"
        found.append(_error("E003", place, f"no platform: {why}", "Check the platform plugin and its device library."))
    elif expected_device is not None and identity.device_type != expected_device:
        found.append(
            _error(
                "E004",
                place,
                f"the active platform is {identity.device_type!r} ({identity.platform_class}), not {expected_device!r}",
                "Look for `Failed to load plugin` with VLLM_LOGGING_LEVEL=DEBUG.",
            )
        )
    if identity.torchvision_error is not None:
        found.append(
            Finding(
                code="E005",
                severity=Severity.WARNING,
                place=place,
                message=f"torchvision cannot be imported, multimodal models will fail: {identity.torchvision_error}",
                next_step="Install the build that fits this torch; `seatrial engine install --force` mends its own.",
            )
        )
    return found


def _error(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=next_step)
