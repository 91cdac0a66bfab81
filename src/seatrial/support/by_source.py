"""The step `support` where no engine can be asked: the registry read from the text of its sources.

In: the checkpoint's architectures, the sources of vLLM and of plugins. Out: a StepResult like `support`'s, with the
road "by-source". A plugin's class that by the sources cannot be imported fails. What only a running engine knows (does
the class really import, does the platform take it, is there a Transformers class to fall back on) stays open: a
registered architecture is inconclusive here at best, never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seatrial.checkpoint import Card, documents
from seatrial.checkpoint.files import Folder
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive
from seatrial.support.case import decide
from seatrial.support.class_text import class_text
from seatrial.support.engine_registry import ArchitectureState
from seatrial.support.facts import SupportFacts
from seatrial.support.registry_read import read_registry
from seatrial.support.registry_records import Registered, RegistryTable
from seatrial.support.relatives import ModelFiles, Relative, fields_of
from seatrial.support.source import open_source
from seatrial.support.step import STEP


def support_by_source(card: Card, engine: Path, plugins: Sequence[Path], why: str) -> StepResult:
    """`why` says why no engine was asked. Raises SeatrialError subclasses for sources that cannot be read."""
    table = read_registry(engine, plugins)
    names = card.architecture.architectures
    supported = tuple(sorted(table.supported()))
    states = tuple(_read_class(_state(name, table.get(name)), engine, plugins) for name in names)
    outcome = _outcome(states)
    facts = SupportFacts(
        architectures=names,
        model_type=card.architecture.model_type or "",
        road="by-source",
        case=decide(
            architectures=names,
            served=False,
            fallback=False,
            registered=any(s.registered for s in states),
            has_experts=card.feed_forward.moe is not None,
            is_multimodal=card.multimodal is not None,
            supported=supported,
        ),
        states=states,
        vllm_version=table.engine_version,
        supported_count=len(supported),
        supported=supported,
    )
    note = Finding(
        code="S015",
        severity=Severity.WARNING,
        place=table.source,
        message=f"the registry was read from the sources, no engine was asked: {why}",
        next_step="Run this again where the target's interpreter has vLLM, to learn whether the class imports.",
    )
    summary = f"{outcome.reason} (vLLM {table.engine_version or 'of unknown version'}, from its sources)"
    return StepResult(step=STEP, outcome=outcome, summary=summary, facts=facts, findings=(note, *table.findings))


def relatives_of(card: Card, engine: Path, plugins: Sequence[Path] = ()) -> tuple[Relative, ...]:
    """The nearest architectures that those sources register, by config fields, weight names and name."""
    table: RegistryTable = read_registry(engine, plugins)
    paths = {name: entry.class_path for name, entry in table.supported().items()}
    config = documents.read(Folder(Path(card.folder)), "config.json").data or {}
    names = [leaf.pattern for leaf in card.weights.tree]
    files = ModelFiles(open_source(engine))
    return files.nearest(card.architecture.architectures, fields_of(config), names, paths)


def _state(name: str, entry: Registered | None) -> ArchitectureState:
    registered = entry is not None and entry.state == "registered"
    detail = entry.detail if entry is not None else ""
    return ArchitectureState(
        architecture=name,
        registered=registered,
        class_path=entry.class_path if entry is not None else "",
        owner=entry.owner if entry is not None else "",
        upstream_class_path=entry.overwrites if entry is not None else "",
        importable=None,
        error="",
        traceback="",
        file=entry.place if entry is not None else "",
        info={},
        platform_refusal="",
        converted_from="",
        previously_supported_until=detail if entry is not None and entry.state == "previously-supported" else "",
        out_of_tree_plugin=detail if entry is not None and entry.state == "out-of-tree" else "",
        transformers_class="absent",
        transformers_error="not looked for: no engine was asked",
    )


def _read_class(state: ArchitectureState, engine: Path, plugins: Sequence[Path]) -> ArchitectureState:
    """The state with what the class's own text says: capabilities, and for a plugin's class whether it imports."""
    if not state.registered:
        return state
    text = class_text(state.class_path, state.architecture, engine, plugins)
    return replace(
        state,
        importable=False if text.importable is False else None,
        error="; ".join(text.because),
        info=dict(text.info),
    )


def _outcome(states: Sequence[ArchitectureState]) -> Outcome:
    if not states:
        return inconclusive("config.json names no architecture")
    for state in states:
        if state.importable is False:
            first, *rest = state.error.split("; ")
            more = f", and {len(rest)} more" if rest else ""
            return failed(
                f"{state.architecture} is registered as {state.class_path}, which cannot import: {first}{more}"
            )
        if state.registered:
            return inconclusive(
                f"{state.architecture} is registered as {state.class_path}; whether it imports was not tried"
            )
    for state in states:
        if state.previously_supported_until:
            return failed(f"{state.architecture} was supported until vLLM {state.previously_supported_until}")
        if state.out_of_tree_plugin:
            return failed(f"{state.architecture} needs the plugin {state.out_of_tree_plugin}")
    names = ", ".join(s.architecture for s in states)
    return inconclusive(f"{names} is not registered; whether a Transformers class could stand in was not looked at")
