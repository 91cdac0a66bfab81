"""The step `support`: does the engine have a class for this checkpoint, whose is it, does it import, and the case.

In: what the checkpoint says of itself, and a probe session of the target's engine. Out: a StepResult whose facts are
`SupportFacts`. No answer from the engine is inconclusive, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seatrial.core.clock import Stopwatch
from seatrial.core.command import Command
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.engine.border import ProbeReply, ProbeSession
from seatrial.platforms.stubs import Stubs
from seatrial.support.case import decide
from seatrial.support.engine_registry import ArchitectureState, RegistryAnswer
from seatrial.support.facts import SupportFacts
from seatrial.support.findings import architecture_findings, plugin_findings

STEP = "support"


def support(
    architectures: tuple[str, ...],
    *,
    session: ProbeSession,
    model_type: str = "",
    has_experts: bool = False,
    is_multimodal: bool = False,
    remote_code: bool = False,
    stubs: Stubs | None = None,
    plugin_root: str = "",
    timeout_s: float = 300.0,
    progress: Callable[[str], None] | None = None,
) -> StepResult:
    """Ask the engine. `architectures` are those of `config.json`, in order (vLLM takes the first it can load);
    `remote_code` says that its `auto_map` names code of the checkpoint's own. seatrial does not run that code.
    `stubs` stand in for a device's packages where these are absent, so that the plugin (installed, or in `plugin_root`)
    registers what it has; the session must then be one that has not imported the engine yet.
    """
    watch = Stopwatch()
    command = _by_hand(session, architectures)
    if not architectures:
        finding = Finding(
            code="S001",
            severity=Severity.ERROR,
            place="config.json: architectures",
            message="names no architecture, so the engine cannot choose a class",
            next_step="Add the model class to architectures in config.json, or pass --hf-overrides when serving.",
        )
        facts = SupportFacts(architectures=(), model_type=model_type, road="unknown")
        outcome = inconclusive("config.json names no architecture")
        return StepResult(step=STEP, outcome=outcome, summary=outcome.reason, facts=facts, findings=(finding,))
    request: dict[str, Any] = {"architectures": list(architectures)}
    if stubs is not None:
        request |= {"stubs": to_plain(stubs), "plugin_root": plugin_root}
    with watch.span("ask the engine's registry", "engine"):
        reply = session.call("registry", request, timeout_s=timeout_s, progress=progress)
    log = (Attachment(name="probe-registry.log", path=reply.log),)
    if reply.status != "answered":
        return _no_answer(reply, architectures, model_type, command, log, watch)
    answer = reply.decode(RegistryAnswer)
    serving = next((s for s in answer.architectures if s.serves), None)
    road = _road(serving, answer.architectures, remote_code)
    decision = decide(
        architectures=architectures,
        served=serving is not None,
        fallback=road == "transformers-backend",
        registered=any(s.class_path for s in answer.architectures),
        has_experts=has_experts,
        is_multimodal=is_multimodal,
        supported=answer.supported,
    )
    facts = SupportFacts(
        architectures=architectures,
        model_type=model_type,
        road=road,
        served_by=serving,
        case=decision,
        states=answer.architectures,
        plugins=answer.plugins,
        vllm_version=answer.vllm_version,
        platform_class=answer.platform_class,
        device_type=answer.device_type,
        supported_count=len(answer.supported),
        platform_quantization=answer.platform_quantization,
        supported=tuple(answer.supported) if serving is None else (),
    )
    outcome = judge(facts)
    return StepResult(
        step=STEP,
        outcome=outcome,
        summary=_summary(facts, outcome),
        facts=facts,
        findings=(*plugin_findings(facts), *architecture_findings(facts)),
        commands=(command,),
        attachments=log,
        timeline=watch.spans(),
    )


def _by_hand(session: ProbeSession, architectures: tuple[str, ...]) -> Command:
    code = (
        "from vllm.plugins import load_general_plugins; load_general_plugins(); "
        "from vllm import ModelRegistry; "
        f"[print(a, ModelRegistry.models.get(a)) for a in {list(architectures)!r}]"
    )
    return Command(purpose="ask the engine's registry", argv=(str(session.python), "-c", code))


def _no_answer(
    reply: ProbeReply,
    architectures: tuple[str, ...],
    model_type: str,
    command: Command,
    log: tuple[Attachment, ...],
    watch: Stopwatch,
) -> StepResult:
    finding = Finding(
        code="S002",
        severity=Severity.ERROR,
        place="engine",
        message=f"the engine did not answer: {reply.trouble()}",
        next_step=f"Run: {command.shell()}",
    )
    outcome = inconclusive(f"the engine did not answer: {reply.trouble()}")
    return StepResult(
        step=STEP,
        outcome=outcome,
        summary=outcome.reason,
        facts=SupportFacts(architectures=architectures, model_type=model_type, road="unknown"),
        findings=(finding,),
        commands=(command,),
        attachments=log,
        timeline=watch.spans(),
    )


def _road(serving: ArchitectureState | None, states: tuple[ArchitectureState, ...], remote_code: bool) -> str:
    if serving is not None:
        return "transformers-backend" if _is_wrapper(serving.class_path) else "native"
    if any(s.class_path for s in states):
        return "none"  # registered: vLLM does not fall back when a registered class fails to load
    # vLLM tries its Transformers backend for the first architecture only.
    if states[0].transformers_class == "compatible":
        return "transformers-backend"
    return "remote-code" if remote_code and states[0].transformers_class == "absent" else "none"


def _is_wrapper(class_path: str) -> bool:
    return class_path.startswith("vllm.model_executor.models.transformers")


def judge(facts: SupportFacts) -> Outcome:
    """The verdict from what the engine's registry said."""
    raised = [p.name for p in facts.plugins if p.state == "raised"]
    if raised:
        return failed(f"plugin {raised[0]} raises when the engine calls it, which ends the engine")
    if facts.served_by is not None:
        return passed()
    if facts.road == "transformers-backend":
        return passed("not native: the Transformers library declares its class fit for vLLM's Transformers backend")
    if facts.road == "remote-code":
        return inconclusive("only the checkpoint's own code could serve it, and seatrial does not run that here")
    for state in facts.states:
        if state.class_path:
            return failed(
                f"{state.architecture} is registered as {state.class_path}, which cannot be used: {_why(state)}"
            )
    lost = [p.name for p in facts.plugins if p.state == "load-failed"]
    names = ", ".join(facts.architectures)
    if lost:
        return inconclusive(
            f"{names} is not registered, but plugin {', '.join(lost)} did not load and might register it"
        )
    for state in facts.states:
        if state.previously_supported_until:
            return failed(f"{state.architecture} was supported until vLLM {state.previously_supported_until}")
        if state.out_of_tree_plugin:
            return failed(f"{state.architecture} needs the plugin {state.out_of_tree_plugin}")
    return failed(f"the engine does not register {names}")


def _why(state: ArchitectureState) -> str:
    return state.platform_refusal or state.error


def _summary(facts: SupportFacts, outcome: Outcome) -> str:
    case = f"case {facts.case.case.value}" if facts.case else "case unknown"
    if facts.served_by is not None:
        state = facts.served_by
        note = f", converted from {state.converted_from}" if state.converted_from else ""
        return f"{state.architecture} is served by {state.class_path} ({state.owner}{note}); {case}"
    if facts.road == "transformers-backend":
        return f"{facts.architectures[0]} is not registered; vLLM's Transformers backend would serve it; {case}"
    return f"{outcome.reason}; {case}"
