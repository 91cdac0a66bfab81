"""The step `engine`: does the target's interpreter have a vLLM that imports, and is the target's platform active.

vLLM falls back to another platform without a word when a plugin fails to load; this step is where that is seen.
"""

from __future__ import annotations

from collections.abc import Callable

from seatrial.core.clock import Stopwatch
from seatrial.core.command import Command
from seatrial.core.finding import errors
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, passed
from seatrial.engine.border import ProbeSession
from seatrial.engine.identity import Identity, examine
from seatrial.platforms import platform
from seatrial.targets import Target

# Findings that a machine without the device has, though its engine is in order.
NO_DEVICE = frozenset({"E003", "E004"})


def check_engine(
    session: ProbeSession, target: Target, *, timeout_s: float, progress: Callable[[str], None]
) -> StepResult:
    """Ask the engine who it is. A fault is a fail, with the probe's log as evidence."""
    watch = Stopwatch()
    with watch.span("import the engine", "engine"):
        reply = session.call("identity", {}, timeout_s=timeout_s, progress=progress)
    findings = examine(reply, platform(target.platform).device_type)
    by_hand = "import vllm.engine.arg_utils; from vllm.platforms import current_platform as p; print(p.device_type)"
    identity = reply.decode(Identity) if reply.status == "answered" else None
    worst = errors(findings)
    summary = worst[0].message if worst else ""
    if identity is not None and not worst:
        summary = f"vLLM {identity.vllm_version}, platform {identity.device_type} active, Python {identity.python}"
    return StepResult(
        step="engine",
        outcome=failed(worst[0].message) if worst else passed(),
        summary=summary,
        facts=identity or reply,
        findings=tuple(findings),
        commands=(
            Command(
                purpose="ask the engine by hand",
                argv=(str(session.python), "-c", by_hand),
                env=target.launch.env,
            ),
        ),
        attachments=(Attachment(name="probe.log", path=reply.log),),
        timeline=watch.spans(),
    )
