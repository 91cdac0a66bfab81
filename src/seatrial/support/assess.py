"""Can this checkpoint run on this target, by which road, and what has to be done: from facts already gathered.

In: the checkpoint's card, the answer of the step `support`, the target. Out: an `Assessment`. Nothing is asked here.
A feature is `expected` when what was read speaks for it; only a gate makes it `supported`.
"""

from __future__ import annotations

from typing import Literal

from seatrial.checkpoint import Card
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, failed
from seatrial.support.case import Case
from seatrial.support.facts import SupportFacts
from seatrial.support.feature import Expectation, Feature
from seatrial.support.platform_rules import attention_features, rules_of
from seatrial.support.relatives import Relative, by_name
from seatrial.targets import Target

SCHEMA_VERSION = 1
BUILT_IN = ("cpu", "cuda")  # platforms whose operators are vLLM's own
Info = dict[str, bool | int | float | str | None]
WORK_LINES = 5  # places listed one by one
Strategy = Literal["reuse", "overlay", "fork with provenance", "backend patch", "undecided"]


class Assessment(Record):
    """`effort` is a word (none, small, medium, large) with its reason in `reasons`; nobody has measured it."""

    schema_version: int
    checkpoint: str
    target: str
    outcome: Outcome
    case: Case | None
    strategy: Strategy
    effort: str
    reasons: tuple[str, ...]
    relatives: tuple[Relative, ...]
    work: tuple[str, ...]
    features: tuple[Feature, ...]


class Road(Record):
    """The strategy with its effort, reasons and work items."""

    strategy: Strategy
    effort: str
    reasons: tuple[str, ...]
    work: tuple[str, ...]


def assess(
    card: Card,
    facts: SupportFacts,
    outcome: Outcome,
    target: Target,
    relatives: tuple[Relative, ...] | None = None,
) -> Assessment:
    """`relatives` of an architecture that is not served, nearest first; None: by the names alone."""
    features = feature_plan(card, facts, target)
    blocking = [f for f in features if f.expectation == "not-expected" and f.name in _demanded(card, target)]
    if outcome.verdict.value == "pass" and blocking:
        outcome = failed(f"{blocking[0].name}: {blocking[0].reason}")
    if facts.served_by is not None or any(s.class_path for s in facts.states):
        relatives = ()  # what is registered needs no base to be written from
    elif relatives is None:
        relatives = by_name(facts.architectures, facts.supported)
    road = choose_road(facts, target, relatives)
    work = (*road.work, *(f"{f.name}: {f.reason}" for f in blocking))
    return Assessment(
        schema_version=SCHEMA_VERSION,
        checkpoint=card.folder,
        target=target.name,
        outcome=outcome,
        case=facts.case.case if facts.case is not None else None,
        strategy=road.strategy,
        effort=road.effort,
        reasons=road.reasons,
        relatives=relatives,
        work=work,
        features=features,
    )


def choose_road(facts: SupportFacts, target: Target, relatives: tuple[Relative, ...]) -> Road:
    """The least invasive road that the facts leave open."""
    plugin = target.platform not in BUILT_IN
    state = facts.served_by
    if state is not None:
        if state.owner != "vllm":
            return Road(
                strategy="reuse", effort="none", reasons=(f"{state.owner} has a class of its own for it",), work=()
            )
        if plugin:
            why = "vLLM's own class serves it, with the platform's operators in place of vLLM's"
            return Road(
                strategy="overlay", effort="small", reasons=(why,), work=("Run the gates: operators may be missing.",)
            )
        return Road(strategy="reuse", effort="none", reasons=("vLLM's own class serves it",), work=())
    if facts.road == "unknown":
        return Road(strategy="undecided", effort="unknown", reasons=("the engine gave no answer",), work=())
    if facts.road == "transformers-backend":
        why = "only vLLM's Transformers backend serves it: right as a start, slower than a native class"
        return Road(strategy="reuse", effort="small", reasons=(why,), work=("Run the gates; consider a native class.",))
    registered = next((s for s in facts.states if s.class_path), None)
    if registered is not None and facts.road == "by-source" and registered.importable is False:
        places = registered.error.split("; ")
        why = f"{registered.class_path} is registered and cannot be imported with this vLLM, by the sources"
        work = (
            *places[:WORK_LINES],
            *((f"… and {len(places) - WORK_LINES} more",) if len(places) > WORK_LINES else ()),
        )
        fix = "Run `seatrial compat` on these sources: it says where each name is now."
        effort = "small" if len(places) <= WORK_LINES else "medium"
        return Road(strategy="backend patch", effort=effort, reasons=(why,), work=(fix, *work))
    if registered is not None and facts.road == "by-source":
        why = f"{registered.class_path} is registered, by the text of the sources; no engine was asked"
        work = ("Ask the engine itself: whether the class imports was not tried.",)
        strategy: Strategy = "overlay" if plugin and registered.owner == "vllm" else "reuse"
        return Road(strategy=strategy, effort="unknown", reasons=(why,), work=work)
    if registered is not None:
        error = registered.platform_refusal or registered.error
        why = f"{registered.class_path} is registered and cannot be used: {error}"
        fix = "Run `seatrial compat` on this plugin and this vLLM, and mend what stands in the way."
        return Road(strategy="backend patch", effort="small", reasons=(why,), work=(fix,))
    before = next((s for s in facts.states if s.previously_supported_until), None)
    if before is not None:
        why = f"vLLM had a class for it until {before.previously_supported_until}"
        work = (f"Port that class from vLLM {before.previously_supported_until}, with its provenance.",)
        return Road(strategy="fork with provenance", effort="medium", reasons=(why,), work=work)
    away = next((s for s in facts.states if s.out_of_tree_plugin), None)
    if away is not None:
        work = (f"Install {away.out_of_tree_plugin}.",)
        return Road(strategy="reuse", effort="small", reasons=("a plugin outside vLLM has it",), work=work)
    base = relatives[0].architecture if relatives else ""
    near = (
        (f"the nearest supported one is {base} ({relatives[0].because})",)
        if relatives
        else ("nothing near it is supported",)
    )
    case = facts.case.case if facts.case is not None else Case.B
    todo = [f"Write a model class{f' from that of {base}' if base else ''} and register it by a plugin."]
    if case is Case.C:
        todo.append("Map the experts' weights to the engine's fused experts.")
    if case is Case.D:
        todo.append("Write the multimodal processor and its dummy inputs.")
    effort = "large" if case is Case.D or not relatives else "medium"
    reasons = ("no class is registered for it", *near)
    return Road(strategy="fork with provenance", effort=effort, reasons=reasons, work=tuple(todo))


def _demanded(card: Card, target: Target) -> set[str]:
    """Features without which this checkpoint cannot be served with the target's own arguments."""
    wanted = {"tensor parallel", "context length"}
    if card.quantization is not None:
        wanted.add("quantisation")
    if int(target.serve.args.get("pipeline-parallel-size", 1)) > 1:
        wanted.add("pipeline parallel")
    if target.serve.args.get("enable-lora"):
        wanted.add("LoRA")
    return wanted


def feature_plan(card: Card, facts: SupportFacts, target: Target) -> tuple[Feature, ...]:
    """What to expect of each feature on this target."""
    known = facts.served_by or next((s for s in facts.states if s.info), None)
    info = known.info if known is not None else {}
    says = "the sources say" if facts.road == "by-source" else "the engine says"
    return (
        _by_class("pipeline parallel", info, "supports_pp", says),
        _by_class("LoRA", info, "supports_lora", says),
        _multimodal(card, info, says),
        _mtp(card),
        _experts(card),
        _quantisation(card, facts, target),
        _tensor_parallel(card, target),
        _context(card, target),
        *attention_features(card, target),
    )


def _by_class(name: str, info: Info, key: str, says: str) -> Feature:
    value = info.get(key)
    if value is None:
        return Feature(name=name, expectation="unknown", reason=f"nothing said {key} of a class")
    expectation: Expectation = "expected" if value else "not-expected"
    return Feature(name=name, expectation=expectation, reason=f"{says} {key} = {value} of the class")


def _multimodal(card: Card, info: Info, says: str) -> Feature:
    if card.multimodal is None:
        reason = "config.json has no section of another modality (vision_config, audio_config)"
        return Feature(name="multimodal", expectation="not-applicable", reason=reason)
    return _by_class("multimodal", info, "supports_multimodal", says)


def _mtp(card: Card) -> Feature:
    mtp = card.mtp
    found = "an unknown number" if mtp.found is None else mtp.found
    reason = f"{mtp.field}: {mtp.declared} layers declared in config.json, {found} in the weights"
    table: dict[str, Expectation] = {
        "supported": "expected",
        "checkpoint-missing": "checkpoint-missing",
        "not-applicable": "not-applicable",
    }
    return Feature(name="MTP", expectation=table.get(mtp.status, "unknown"), reason=reason)


def _experts(card: Card) -> Feature:
    moe = card.feed_forward.moe
    if moe is None:
        return Feature(name="expert parallel", expectation="not-applicable", reason="config.json counts no experts")
    return Feature(name="expert parallel", expectation="unknown", reason=f"{moe.experts} experts; only a run shows it")


def _quantisation(card: Card, facts: SupportFacts, target: Target) -> Feature:
    method = card.quantization.method if card.quantization is not None else ""
    if not method:
        reason = "config.json has no quantization_config"
        return Feature(name="quantisation", expectation="not-applicable", reason=reason)
    allowed = facts.platform_quantization
    source = "the engine's list"
    rules = rules_of(target.platform)
    if not allowed and not facts.platform_class and rules.quantisation is not None:
        allowed, source = rules.quantisation, rules.sources["quantisation"]
    if not allowed:
        reason = f"{method}; the platform names no list of methods it takes"
        return Feature(name="quantisation", expectation="unknown", reason=reason)
    fits = method.replace("_", "-") in {a.replace("_", "-") for a in allowed}
    if fits and method in rules.quantisation_limits:
        reason = f"{method} is among the platform's methods ({source}), but {rules.quantisation_limits[method]}"
        return Feature(name="quantisation", expectation="unknown", reason=reason)
    reason = f"{method} is {'' if fits else 'not '}among the platform's methods ({', '.join(allowed)}; {source})"
    return Feature(name="quantisation", expectation="expected" if fits else "not-expected", reason=reason)


def _tensor_parallel(card: Card, target: Target) -> Feature:
    size = int(target.serve.args.get("tensor-parallel-size", 1))
    check = next((c for c in card.tensor_parallel if c.size == size), None)
    if size == 1:
        return Feature(name="tensor parallel", expectation="not-applicable", reason="the target runs one device")
    if check is None:
        reason = f"size {size} was not checked against the checkpoint"
        return Feature(name="tensor parallel", expectation="unknown", reason=reason)
    reason = f"size {size}: {'; '.join(check.problems) or 'all split dimensions divide'}"
    return Feature(name="tensor parallel", expectation="expected" if check.fits else "not-expected", reason=reason)


def _context(card: Card, target: Target) -> Feature:
    wanted, has = target.serve.args.get("max-model-len"), card.context.value
    if has is None:
        return Feature(name="context length", expectation="unknown", reason=card.context.note)
    if wanted is None:
        return Feature(name="context length", expectation="expected", reason=f"the checkpoint's own {has}")
    fits = int(wanted) <= has
    reason = f"the target asks for {wanted}, the checkpoint declares {has}"
    return Feature(name="context length", expectation="expected" if fits else "not-expected", reason=reason)
