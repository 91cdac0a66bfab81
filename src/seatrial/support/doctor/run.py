"""All checks of one target, in one order. The engine is asked through probes; the machine by `host.look`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from seatrial.core.errors import EngineError
from seatrial.core.finding import Finding, Severity, errors
from seatrial.core.record import Record
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.engine.identity import Identity, examine
from seatrial.platforms import Platform, platform
from seatrial.support.doctor.devices import ToolAnswer, devices_check, platform_devices, run_tool
from seatrial.support.doctor.disk import disk_check
from seatrial.support.doctor.host import HostFacts, look
from seatrial.support.doctor.limits import open_files_check, processes_check, shared_memory_check
from seatrial.support.doctor.ports import api_port_check, hccl_check, kv_transfer_check
from seatrial.support.doctor.processes import processes_running_check
from seatrial.support.doctor.records import (
    SCHEMA_VERSION,
    Check,
    DoctorReport,
    checked,
    could_not_look,
    finding,
    overall,
)
from seatrial.support.doctor.roots import roots_check, version_check
from seatrial.support.doctor.sizes import sizes_of
from seatrial.support.doctor.stack import StackAnswer, files_check, plugins_check, triton_check
from seatrial.support.doctor.versions import PACKAGES, stack_of, versions_check
from seatrial.targets import Target

ENGINE_CHECKS = ("plugins", "installed files", "triton", "import roots", "engine version")


class Asked(Record):
    """What the interpreter said. `trouble` is why there is no answer of the probe `doctor`."""

    identity: Identity | None
    answer: StackAnswer | None
    findings: tuple[Finding, ...]
    trouble: str = ""


def doctor(
    target: Target,
    *,
    log: Path,
    checkpoint: Path | None = None,
    checkpoint_bytes: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
    host: HostFacts | None = None,
    tool: ToolAnswer | None = None,
) -> DoctorReport:
    """Look at everything. `log` takes what the interpreter prints; `host` and `tool` replace looking at this machine.

    An interpreter that is not there or does not answer is a failed check, not an exception.
    """
    env = {**os.environ, **target.launch.env}
    here = platform(target.platform)
    asked = ask(target, here, log, progress)
    progress("looking at this machine")
    host = host or look()
    if tool is None:
        tool = run_tool(target.platform) if platform_devices(target.platform).COMMANDS else ToolAnswer()
    stack = stack_of(target.platform, asked.identity, asked.answer, tool, env)
    sizes = sizes_of(target)
    default_share = asked.answer.memory_utilization_default if asked.answer is not None else None
    unknown_share = asked.answer.memory_utilization_unknown if asked.answer is not None else "the engine did not answer"
    checks = (
        engine_check(asked),
        *_of_answer(target, here, asked),
        versions_check(stack),
        api_port_check(target, host),
        hccl_check(target, host, env),
        kv_transfer_check(target, host),
        shared_memory_check(sizes.workers, host, env, sizes.engines),
        open_files_check(host),
        processes_check(sizes.workers, host, sizes.engines),
        devices_check(target, tool, env, default_share, unknown_share),
        processes_running_check(host),
        disk_check(checkpoint, checkpoint_bytes),
    )
    return DoctorReport(
        schema_version=SCHEMA_VERSION,
        target=target.name,
        platform=target.platform,
        outcome=overall(checks),
        stack=stack,
        checks=checks,
    )


def ask(target: Target, here: Platform, log: Path, progress: Callable[[str], None]) -> Asked:
    """The probes `identity`, then `doctor`, in one process of the target's interpreter."""
    try:
        python = target_python(target)
    except EngineError as exc:
        found = finding(
            "H001", Severity.ERROR, f"target {target.name}", exc.message, exc.mend or "Name another Python."
        )
        return Asked(identity=None, answer=None, findings=(found,), trouble=exc.message)
    limit = float(target.limits.probe_s.value or 600)
    last = ""

    def note(text: str) -> None:
        nonlocal last
        last = text
        progress(text)

    try:
        with ProbeSession(python, log=log, env=target.launch.env) as session:
            said = session.call("identity", {}, timeout_s=limit, progress=note)
            reply = session.call("doctor", {"device_packages": list(PACKAGES)}, timeout_s=limit, progress=note)
    except EngineError as exc:
        found = finding("H001", Severity.ERROR, str(python), exc.message, exc.mend or f"See {log}.")
        return Asked(identity=None, answer=None, findings=(found,), trouble=exc.message)
    findings = examine(said, here.device_type)
    identity = said.decode(Identity) if said.status == "answered" else None
    if reply.status == "answered":
        return Asked(identity=identity, answer=reply.decode(StackAnswer), findings=tuple(findings))
    trouble = f"{reply.trouble()} while {last or 'starting'}"
    mend = "Run the interpreter by hand and load that plugin; it takes the whole process with it."
    findings.append(finding("H001", Severity.ERROR, str(python), trouble, mend))
    return Asked(identity=identity, answer=None, findings=tuple(findings), trouble=trouble)


def engine_check(asked: Asked) -> Check:
    """The interpreter answers, vLLM imports, and the platform that is active is the target's own class."""
    identity = asked.identity
    if identity is None:
        worst = errors(asked.findings)
        return checked("engine", worst[0].message if worst else "no answer", asked.findings)
    seen = f"vLLM {identity.vllm_version}, active platform {identity.device_type} ({identity.platform_class})"
    if identity.vllm_version is None:
        seen = f"no vLLM in {identity.executable}"
    return checked("engine", seen, asked.findings)


def _of_answer(target: Target, here: Platform, asked: Asked) -> tuple[Check, ...]:
    answer, identity = asked.answer, asked.identity
    if answer is None or identity is None:
        return tuple(could_not_look(name, asked.trouble or "the engine gave no answer") for name in ENGINE_CHECKS)
    return (
        _with_fallback(plugins_check(answer, here), identity, answer, here),
        files_check(answer),
        triton_check(answer, here),
        roots_check(target, here, identity, answer),
        version_check(target, identity),
    )


def _with_fallback(check: Check, identity: Identity, answer: StackAnswer, here: Platform) -> Check:
    """H014: the active platform's class is not the plugin's. The device type does not tell: Kunlun's is "cuda"."""
    if not here.plugin or identity.platform_class is None:
        return check
    tops = {re.split(r"[.:]", p.target)[0] for p in answer.plugins if p.name == here.plugin}
    if not tops or identity.platform_class.split(".")[0] in tops:
        return check
    message = f"vLLM fell back to {identity.platform_class}; the plugin {here.plugin!r} is installed and not active"
    mend = "See the plugin's other findings; vLLM says why only with VLLM_LOGGING_LEVEL=DEBUG."
    found = finding("H014", Severity.ERROR, identity.executable, message, mend)
    return checked(check.name, check.seen, (*check.findings, found))
