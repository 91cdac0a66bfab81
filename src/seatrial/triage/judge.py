"""From events to the one answer: which is the first cause, what merely follows from it, what is noise.

In: the events of all inputs in order, the context lines, exit codes. Out: a `Diagnosis`. It says "unknown" rather than
guess: when nothing matches, when a failure that nobody knows comes before a match that could follow from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seatrial.triage import cann, deaths, quality
from seatrial.triage.categories import UNKNOWN
from seatrial.triage.lines import depth, sortable_time
from seatrial.triage.record import Death, Diagnosis, Event, FirstCause, Mention, SourceNote
from seatrial.triage.signature import Kind, Library, Signature, Tier

# Expected hit rate of each tier, from seven sets scored before the rules were tuned to them (shape 31 of 36, literal
# 122 of 128, exact 20 of 21; weak 1 of 5): set a little below that, because the sets are small.
CONFIDENCE = {Tier.WEAK: 0.3, Tier.SHAPE: 0.8, Tier.LITERAL: 0.9, Tier.EXACT: 0.95}
MENTIONS = 20
COLLECT = (
    "the whole log of every process from its first line (do not cut the head)",
    "the exact command and environment (seatrial triage --bundle keeps both)",
    "exit codes or signals of the processes, and `dmesg | tail -200`",
    "VLLM_LOGGING_LEVEL=DEBUG; on Ascend also ~/ascend/log (plog) and ASCEND_SLOG_PRINT_TO_STDOUT=1",
)


class Judged(NamedTuple):
    event: Event
    kind: Kind | None  # None: a failure that no signature knows
    signature: Signature | None


class Material(NamedTuple):
    """What the judge is given. `order` of the events is already global."""

    events: Sequence[Event]
    context: str
    ready: bool
    requests: int
    exits: tuple[Death, ...]
    several_files: bool
    sources: tuple[SourceNote, ...] = ()
    plain: Sequence[tuple[str, int, str]] = ()  # file, line, text of the lines without a level, of small logs


def judge(material: Material, library: Library) -> Diagnosis:
    """The answer, without the notes on the sources."""
    events = in_time(material.events) if material.several_files else list(material.events)
    judged = [j for e in events if (j := classify(e, material.context, library)) is not None]
    fatal = deaths.in_log(events) + material.exits
    roots = [j for j in judged if j.kind is Kind.ROOT]
    unknown = [j for j in judged if j.kind is None]
    chosen = _choose(roots, unknown)
    crash = deaths.crash_after_ready(events, material.ready, fatal)
    tier = chosen.signature.tier if chosen and chosen.signature else Tier.WEAK
    if chosen and chosen.event.level == "WARNING" and tier < Tier.LITERAL:
        tier = Tier.WEAK
    if crash is not None and (chosen is None or tier <= Tier.WEAK or _first_request(chosen)):
        return _crash(crash, chosen, judged, material, fatal)
    if chosen is None and not unknown and not fatal and (seen := quality.look([text for _, _, text in material.plain])):
        return _quality(seen, judged, material)
    if chosen is None or chosen.signature is None or tier <= Tier.WEAK:
        return _unknown(unknown, judged, material, fatal)
    return _known(chosen, judged, material, fatal)


# What an operator or the engine's own code says when the first real request takes a path that the start never took.
OPERATORS = {
    "attention-backend", "attention-backend-mla", "graph-capture-failure", "kernel-limit", "operator-unsupported",
}  # fmt: skip
# The same where only the place or the shape of the message speaks for the category.
ENGINE_CODE = {"version-mismatch-plugin", "config-validation"}


def _first_request(chosen: Judged) -> bool:
    """Whether the failure is that of an engine that was ready and had answered nothing yet."""
    event, signature = chosen.event, chosen.signature
    if not event.ready or event.requests or signature is None:
        return False
    return signature.category in OPERATORS or (signature.category in ENGINE_CODE and signature.tier <= Tier.SHAPE)


def in_time(events: Sequence[Event]) -> list[Event]:
    """Events of several files by clock where every file has one; at the same second workers come first."""
    keyed = [(sortable_time(e.time), e) for e in events]
    timed = {e.file for key, e in keyed if key}
    if timed != {e.file for e in events}:
        return list(events)
    return [e for _, e in sorted(keyed, key=lambda p: (p[0][:10], depth(p[1].process), p[0], p[1].order))]


def classify(event: Event, context: str, library: Library) -> Judged | None:
    """What the event is; None when it is of no interest."""
    found = library.of(event, context)
    for signature in found:
        if signature.kind is Kind.NOISE:
            return Judged(event, Kind.NOISE, signature)
    quiet = event.level in {"INFO", "DEBUG"}
    order = (Kind.ROOT, Kind.CONSEQUENCE, Kind.WRAPPER, Kind.EVIDENCE)
    if quiet or event.level == "WARNING":
        order = (Kind.EVIDENCE, Kind.CONSEQUENCE, Kind.WRAPPER, Kind.ROOT)
    weak = None
    for wanted in order:
        for signature in found:
            if signature.kind is not wanted or (quiet and wanted is Kind.ROOT and signature.tier < Tier.EXACT):
                continue
            if signature.tier is Tier.WEAK:
                weak = weak or signature  # a known wrapper says more than a mere place
                continue
            return Judged(event, wanted, signature)
    if weak is not None:
        return Judged(event, Kind.ROOT, weak)
    if event.exception and not quiet and not event.exception.endswith("Warning"):
        return Judged(event, None, None)
    if event.level in {"FATAL", "CRITICAL"} or "Check failed" in event.text:
        return Judged(event, None, None)
    return None


def _choose(roots: list[Judged], unknown: list[Judged]) -> Judged | None:
    """The root to answer with, or None for unknown."""

    def strength(j: Judged) -> int:
        tier = j.signature.tier if j.signature else 0
        if not j.event.exception and j.event.level not in {"ERROR", "FATAL", "CRITICAL"}:
            # A line that only mentions something says less than a failure that names it.
            tier = max(int(Tier.SHAPE), tier - 1)
        return min(int(tier), int(Tier.LITERAL))

    firm = [j for j in roots if j.signature and not j.signature.yields and strength(j) > Tier.WEAK] or roots
    if not firm:
        return None
    best = max(strength(j) for j in firm)
    chosen = next(j for j in firm if strength(j) == best)
    unsure = chosen.signature is not None and best <= Tier.SHAPE and not chosen.signature.yields
    if unsure or (chosen.signature and chosen.signature.yields == "peer"):
        earlier = [j for j in unknown if j.event.order < chosen.event.order and not _same_chain(j, chosen)]
        if earlier and not _relogged(earlier[0], chosen):
            return None
    return chosen


def _same_chain(one: Judged, two: Judged) -> bool:
    return two.event.chained_to == one.event.order or one.event.chained_to == two.event.order


def _relogged(one: Judged, two: Judged) -> bool:
    """Whether `two` says what `one` said: the same message, or the message below a bare class name."""
    if not one.event.message:
        close = one.event.file == two.event.file and 0 < two.event.line - one.event.line <= 12
        return close and one.event.process == two.event.process
    return two.event.message == one.event.message


def _known(chosen: Judged, judged: list[Judged], material: Material, fatal: tuple[Death, ...]) -> Diagnosis:
    signature = chosen.signature
    if signature is None:
        raise ValueError("a known answer has a signature")
    confidence = CONFIDENCE[signature.tier]
    if chosen.event.level == "WARNING":
        confidence = min(confidence, 0.6)
    rest = [j for j in judged if j.event is not chosen.event]
    return _answer(
        signature.category, confidence, chosen.event, signature.cause, signature.next_step, signature.id, rest,
        material, fatal, rung=signature.rung,
    )  # fmt: skip


def _crash(
    event: Event, chosen: Judged | None, judged: list[Judged], material: Material, fatal: tuple[Death, ...]
) -> Diagnosis:
    died = "; ".join(f"{d.process or 'a process'} {d.meaning}" for d in fatal) or "the engine died"
    cause = chosen.event if chosen and not any(d.code < 0 for d in fatal) else event
    return _answer(
        "false-ready-first-request", 0.8, cause,
        f"The server said it was ready and died on a request after {event.requests} answered POSTs: {died}.",
        "Repeat with --enforce-eager and one request; then take away parallelism flags one by one. "
        "Gate on a completion request, not on /health or /v1/models.",
        "deaths.after-ready", [j for j in judged if j.event is not cause], material, fatal, rung="real",
    )  # fmt: skip


def _quality(seen: quality.Impression, judged: list[Judged], material: Material) -> Diagnosis:
    file, line, text = material.plain[seen.line]
    event = Event(text=text, file=file, line=line, order=0)
    step = (
        "Compare stage by stage with one fixed prompt: HF, eager, graph, TP1/TPn, with and without "
        "MTP and prefix caching."
        if seen.category == "accuracy-garbled"
        else "Pin the request body (min_tokens, ignore_eos, temperature, template, few-shot); compare raw predictions, "
        "then extraction, then score."
    )
    return _answer(
        seen.category, CONFIDENCE[Tier.SHAPE], event, f"{seen.why} Nothing in the log failed.", step, "quality.content",
        judged, material, (), rung="real",
    )  # fmt: skip


def _unknown(unknown: list[Judged], judged: list[Judged], material: Material, fatal: tuple[Death, ...]) -> Diagnosis:
    hints = [j for j in judged if j.kind is Kind.ROOT]
    failures = [j for j in judged if j.kind in {None, Kind.ROOT}]
    first = failures[0].event if failures else None
    wrappers = [j for j in judged if j.kind in {Kind.WRAPPER, Kind.CONSEQUENCE}]
    silent = first is None and not wrappers and not fatal
    # A log of which nothing was read says nothing: it must not count as a clean one.
    healthy = silent and any(source.lines for source in material.sources)
    if hints and first is not None and hints[0].signature:
        why = (
            f"Not certain enough for an answer. The place of the failure hints at {hints[0].signature.category}: "
            f"{hints[0].signature.cause}"
        )
    elif first is not None:
        why = "The first failure in the log is one that no signature knows."
    elif fatal:
        why = (
            "A process was ended without a word: "
            + "; ".join(f"{d.process or 'a process'} {d.meaning}" for d in fatal)
            + "."
        )
    elif wrappers:
        why = "Only wrappers and consequences are in the log; the line that caused them is not."
    elif not healthy:
        why = "There was nothing to read: " + ("; ".join(
            f"{s.file}: {s.dropped or 'is empty'}" for s in material.sources[:MENTIONS]
        ) or "no file was found") + "."  # fmt: skip
    else:
        why = "Nothing in the log looks like a failure."
    if healthy:
        step = (
            "If the server misbehaves all the same, look at the content of its answers: "
            "a log can be clean and the weights wrong. `seatrial dry CHECKPOINT` accounts for every weight."
        )
    else:
        step = deaths.next_step(fatal) or "Collect what is listed, then run seatrial triage on all of it together."
    return _answer(UNKNOWN, 0.0, first, why, step, "", [j for j in judged if j.event is not first], material, fatal,
                   healthy=healthy)  # fmt: skip


def _answer(
    category: str, confidence: float, cause: Event | None, explanation: str, next_step: str, signature: str,
    rest: list[Judged], material: Material, fatal: tuple[Death, ...], *, healthy: bool = False, rung: str = "",
) -> Diagnosis:  # fmt: skip
    def mentions(*kinds: Kind | None) -> tuple[Mention, ...]:
        return tuple(mention(j) for j in rest if j.kind in kinds)[:MENTIONS]

    after = [j for j in rest if j.kind is None and cause is not None and j.event.order > cause.order]
    if cause is not None and (known := cann.explain(cause.text)):
        explanation = f"{explanation} CANN's table: {known}"
    consequences = mentions(Kind.CONSEQUENCE) + tuple(mention(j) for j in after)[:MENTIONS]
    return Diagnosis(
        schema_version=1,
        category=category,
        confidence=confidence,
        first_cause=first_cause(cause) if cause else None,
        explanation=explanation,
        next_step=next_step,
        signature=signature,
        consequences=consequences,
        noise=mentions(Kind.NOISE),
        wrappers=mentions(Kind.WRAPPER),
        evidence=mentions(Kind.EVIDENCE),
        others=mentions(Kind.ROOT),
        deaths=fatal,
        collect=COLLECT if category == UNKNOWN and not healthy else (),
        sources=material.sources,
        ready=material.ready,
        healthy=healthy,
        rung=rung,
    )


def mention(judged: Judged) -> Mention:
    event = judged.event
    return Mention(
        text=event.text[:400], file=event.file, line=event.line, process=event.process, count=event.count,
        signature=judged.signature.id if judged.signature else "", kind=judged.kind.value if judged.kind else "",
    )  # fmt: skip


def first_cause(event: Event) -> FirstCause:
    return FirstCause(
        text=event.text[:2000], file=event.file, line=event.line, process=event.process, time=event.time,
        exception=event.exception, frames=event.frames[-12:],
    )  # fmt: skip
