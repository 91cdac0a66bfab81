"""The answer's record, made from what the judge decided.

In: judged events and the material they came from. Out: a `Diagnosis` for a known cause, for an engine that died after
it was ready, for content that is wrong without a failure, or for "unknown" with what to collect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from seatrial.triage import cann, deaths
from seatrial.triage.advice import ADVICE
from seatrial.triage.categories import UNKNOWN
from seatrial.triage.likeness import Likely
from seatrial.triage.mentions import Judged, apart, first_cause, mentions
from seatrial.triage.quality import Impression
from seatrial.triage.record import Death, Diagnosis, Event, SourceNote
from seatrial.triage.signature import Kind, Tier

AFTER_READY = "deaths.after-ready"
CONTENT = "quality.content"
HINT = 0.3  # below this probability a category is not worth a mention
LIKELY = 0.5  # from this on a log without any failure is not called a clean one
MENTIONS = 30
COLLECT = (
    "the whole log of every process from its first line (do not cut the head)",
    "the exact command and environment (seatrial triage --bundle keeps both)",
    "exit codes or signals of the processes, and `dmesg | tail -200`",
    "VLLM_LOGGING_LEVEL=DEBUG; on Ascend also ~/ascend/log (plog) and ASCEND_SLOG_PRINT_TO_STDOUT=1",
)


# What no clean log holds, at whatever place of a line and whoever wrote it; levels below ERROR may quote it.
FAILED = re.compile(
    r"Traceback \(most recent call last\)|\b[A-Z]\w{1,60}(?:Error|Exception)\b|terminate called|\bpanicked at |"
    r"\(core dumped\)|\bAssertion [`'].{1,200}failed|\berror: |"
    r"\b(?:returned|exited with|exit|with) (?:non-zero exit )?(?:status|code):? (?!2\d\d\b)[1-9]"
)


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


def known(
    chosen: Judged, judged: list[Judged], material: Material, fatal: tuple[Death, ...], confidence: float
) -> Diagnosis:
    signature = chosen.signature
    if signature is None:
        raise ValueError("a known answer has a signature")
    rest = [j for j in judged if j.event is not chosen.event]
    return _answer(
        signature.category, confidence, chosen.event, signature.cause, signature.next_step, signature.id, rest,
        material, fatal, rung=signature.rung,
    )  # fmt: skip


def likely(
    found: Likely, cause: Event | None, judged: list[Judged], material: Material, fatal: tuple[Death, ...]
) -> Diagnosis:
    """An answer that the words give and no signature."""
    advice = ADVICE[found.category]
    return _answer(
        found.category, found.probability, cause,
        f"{advice.cause} No signature knows this text; it reads like one by its words: {', '.join(found.words)}.",
        advice.next_step, "likeness", [j for j in judged if j.event is not cause], material, fatal,
    )  # fmt: skip


def crash(
    event: Event,
    chosen: Judged | None,
    judged: list[Judged],
    material: Material,
    fatal: tuple[Death, ...],
    confidence: float,
) -> Diagnosis:
    died = "; ".join(f"{d.process or 'a process'} {d.meaning}" for d in fatal) or "the engine died"
    cause = chosen.event if chosen and not any(d.code < 0 for d in fatal) else event
    return _answer(
        "false-ready-first-request", confidence, cause,
        f"The server said it was ready and died on a request after {event.requests} answered POSTs: {died}.",
        "Repeat with --enforce-eager and one request; then take away parallelism flags one by one. "
        "Gate on a completion request, not on /health or /v1/models.",
        AFTER_READY, [j for j in judged if j.event is not cause], material, fatal, rung="real",
    )  # fmt: skip


def quality(seen: Impression, judged: list[Judged], material: Material, confidence: float) -> Diagnosis:
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
        seen.category, confidence, event, f"{seen.why} Nothing in the log failed.", step, CONTENT,
        judged, material, (), rung="real",
    )  # fmt: skip


def unknown(
    judged: list[Judged],
    material: Material,
    fatal: tuple[Death, ...],
    likely: Likely | None = None,
    seen: Impression | None = None,
) -> Diagnosis:
    """No answer; `likely` came nearest to one, `seen` is what the content shows where nothing failed."""
    hint = likely if likely is not None and likely.probability >= HINT else None
    failures = [j for j in judged if j.kind in {None, Kind.ROOT} and not _mere_warning(j)]
    first = failures[0].event if failures else None
    wrappers = [j for j in judged if j.kind in {Kind.WRAPPER, Kind.CONSEQUENCE}]
    loud = None if first else unexplained(material.events, judged)
    silent = first is None and loud is None and not wrappers and not fatal
    # A log of which nothing was read, or not the end, says nothing: it must not count as a clean one.
    unread = [s for s in material.sources if s.dropped and (s.lines or s.dropped.startswith("cannot be read"))]
    content = silent and (seen is not None or (likely is not None and likely.probability >= LIKELY))
    healthy = silent and not content and not unread and any(source.lines for source in material.sources)
    if content and seen is not None:
        file, line, text = material.plain[seen.line]
        first = Event(text=text, file=file, line=line, order=0)
        why = f"Nothing in the log failed. {seen.why} That is not enough for an answer."
    elif content and likely is not None:
        why = (
            f"Nothing in the log failed; its content reads most like {likely.category} (probability "
            f"{likely.probability:.2f}), which is not enough for an answer."
        )
    elif hint is not None and (first or loud) is not None:
        first = first or loud
        why = (
            f"Not certain enough for an answer. The likeliest is {hint.category} (probability {hint.probability:.2f}): "
            f"{ADVICE[hint.category].cause}"
        )
    elif first is not None:
        matched = failures[0].signature is not None
        why = (
            "A signature fits the first failure, but too few like it were what it says for an answer."
            if matched
            else "The first failure in the log is one that no signature knows."
        )
    elif fatal:
        died = deaths.event_of(material.events, fatal)
        told = loud if loud is not None and (died is None or loud.order < died.order) else None
        first = told or died
        why = "; ".join(f"{d.process or 'a process'} {d.meaning}" for d in fatal) + "."
        why = (
            f"Before it stands an error that no signature knows: {why}" if told else f"Without a word before it: {why}"
        )
        why = f"A process was ended. {why}"
    elif loud is not None:
        why = "No signature knows this error" + (
            ", and what else failed only follows from something." if wrappers else "; nothing else in the log failed."
        )
        first = loud
    elif wrappers:
        why = "Only wrappers and consequences are in the log; the line that caused them is not."
    elif unread:
        why = "No failure was found, but not all was read: " + "; ".join(
            f"{s.file}: {s.dropped}" for s in unread[:MENTIONS]
        ) + "."  # fmt: skip
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


def _mere_warning(judged: Judged) -> bool:
    """A warning that only has the shape of a failure: servers that are well have them."""
    event, signature = judged.event, judged.signature
    return event.level == "WARNING" and not event.exception and signature is not None and signature.tier < Tier.LITERAL


def unexplained(events: Sequence[Event], judged: Sequence[Judged]) -> Event | None:
    """The first line that tells of an error and that no signature knows."""
    known = {id(j.event) for j in judged}
    heads: list[Event] = []  # of tracebacks; what ends one says more
    for event in events:
        level = event.level
        if id(event) in known or level in {"INFO", "DEBUG", "WARNING"}:
            continue
        if event.text.startswith("Traceback (most recent"):
            heads.append(event)
        elif level in {"ERROR", "FATAL", "CRITICAL"} or FAILED.search(event.text):
            return event
    return heads[0] if heads and not any(j.event.exception for j in judged) else None


def _answer(
    category: str, confidence: float, cause: Event | None, explanation: str, next_step: str, signature: str,
    rest: list[Judged], material: Material, fatal: tuple[Death, ...], *, healthy: bool = False, rung: str = "",
) -> Diagnosis:  # fmt: skip
    others = apart(cause, rest) if cause is not None else rest

    def group(*kinds: Kind) -> list[Judged]:
        return [j for j in others if j.kind in kinds]

    at = cause.order if cause is not None else -1
    strange = [j for j in others if j.kind is None]
    groups = {
        "consequences": mentions(group(Kind.CONSEQUENCE) + [j for j in strange if j.event.order > at]),
        "noise": mentions(group(Kind.NOISE)),
        "wrappers": mentions(group(Kind.WRAPPER)),
        "evidence": mentions(group(Kind.EVIDENCE)),
        "others": mentions(group(Kind.ROOT) + [j for j in strange if j.event.order < at]),
    }
    if cause is not None and (known := cann.explain(cause.text)):
        explanation = f"{explanation} CANN's table: {known}"
    listed = {name: found[:MENTIONS] for name, found in groups.items()}
    return Diagnosis(
        schema_version=1,
        category=category,
        confidence=confidence,
        first_cause=first_cause(cause, rest) if cause else None,
        explanation=explanation,
        next_step=next_step,
        signature=signature,
        consequences=listed["consequences"],
        noise=listed["noise"],
        wrappers=listed["wrappers"],
        evidence=listed["evidence"],
        others=listed["others"],
        deaths=fatal,
        collect=COLLECT if category == UNKNOWN and not healthy else (),
        sources=material.sources,
        ready=material.ready,
        healthy=healthy,
        rung=rung,
        unlisted=sum(len(found) - len(listed[name]) for name, found in groups.items()),
    )
