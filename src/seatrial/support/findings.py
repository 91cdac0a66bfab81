"""The findings of the step `support`. Their codes are stable:

S003 a plugin raises when called; S004 a plugin does not load; S005 the registered class does not import; S006 it
cannot be inspected; S007 the platform refuses it; S008 a plugin overwrites vLLM's class; S009 served through another
class; S010 supported until an older vLLM; S011 moved out of vLLM's tree; S012 Transformers backend only; S013 only the
checkpoint's own code; S014 not registered. Elsewhere: S001 no architecture, S002 no answer, S015 read from
sources only.
"""

from __future__ import annotations

from seatrial.core.finding import Finding, Severity
from seatrial.support.facts import SupportFacts


def plugin_findings(facts: SupportFacts) -> list[Finding]:
    """Plugins that did not load, or raised."""
    found = []
    for plugin in facts.plugins:
        if plugin.state not in ("load-failed", "raised"):
            continue
        fatal = plugin.state == "raised"
        fate = "raises when called" if fatal else "does not load; the engine goes on without it"
        found.append(
            Finding(
                code="S003" if fatal else "S004",
                severity=Severity.ERROR if fatal or facts.served_by is None else Severity.WARNING,
                place=f"{plugin.group}: {plugin.name} = {plugin.target}",
                message=f"{fate}: {plugin.error}",
                next_step=f"Mend or remove {plugin.distribution or plugin.name}, or leave it out of VLLM_PLUGINS.",
            )
        )
    return found


def architecture_findings(facts: SupportFacts) -> list[Finding]:
    """What stands in the way of each architecture, and who serves it."""
    found: list[Finding] = []

    def add(code: str, severity: Severity, place: str, message: str, next_step: str = "") -> None:
        found.append(Finding(code=code, severity=severity, place=place, message=message, next_step=next_step))

    hard = Severity.WARNING if facts.served_by is not None or facts.road != "none" else Severity.ERROR
    for state in facts.states:
        name = state.architecture
        fallback = facts.road == "transformers-backend" and not state.class_path and name == facts.architectures[0]
        if state.class_path and state.importable is False:
            add("S005", hard, name, f"{state.class_path} ({state.owner}) does not import: {state.error}",
                f"python -c 'import {state.class_path.split(':')[0]}'")  # fmt: skip
        elif state.class_path and state.error:
            add("S006", hard, name, f"{state.class_path} imports but the engine cannot inspect it: {state.error}",
                "Bring the class to the engine's model interface.")  # fmt: skip
        if state.platform_refusal:
            add("S007", hard, name, f"{facts.platform_class} refuses it: {state.platform_refusal}",
                "Choose a target whose platform takes this architecture.")  # fmt: skip
        if state.class_path and state.overwritten and not state.converted_from:
            add(
                "S008",
                Severity.INFO,
                name,
                f"{state.owner} overwrites vLLM's {state.upstream_class_path} with {state.class_path}",
            )
        if state.converted_from:
            add("S009", Severity.INFO, name, f"is not registered; the engine converts {state.converted_from} for it")
        if state.class_path:
            continue
        if state.previously_supported_until:
            add("S010", hard, name, f"was supported until vLLM {state.previously_supported_until}",
                f"Use vLLM {state.previously_supported_until}, or port the model as a plugin.")  # fmt: skip
        elif state.out_of_tree_plugin:
            add("S011", hard, name, "left vLLM for a plugin", f"Install {state.out_of_tree_plugin}.")
        elif facts.road == "remote-code":
            add("S013", Severity.WARNING, name, "unknown to vLLM and Transformers; the checkpoint brings its own code",
                "Serve with --trust-remote-code only if you trust that code, or add a model class.")  # fmt: skip
        elif not fallback:
            count = facts.supported_count
            add("S014", hard, name, f"has no class in vLLM {facts.vllm_version}, which registers {count} architectures",
                "Add a model class by a plugin; see the case.")  # fmt: skip
        if fallback:
            add("S012", Severity.WARNING, name, "only vLLM's Transformers backend would serve it, not a native class",
                "Check the gates' log for 'Resolved architecture: Transformers'.")  # fmt: skip
    return found
