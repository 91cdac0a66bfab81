"""From events to the one answer: which is the first cause, what merely follows from it, what is noise.

In: the events of all inputs in order, the context lines, exit codes. Out: a `Diagnosis`. It says "unknown" rather than
guess: when nothing matches, when a failure that nobody knows comes before a match that could follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from seatrial.core.record import replace
from seatrial.triage import answer, deaths, likeness, quality
from seatrial.triage.answer import Material
from seatrial.triage.categories import UNKNOWN
from seatrial.triage.lines import depth, sortable_time
from seatrial.triage.mentions import Judged
from seatrial.triage.record import Candidate, Death, Diagnosis, Event
from seatrial.triage.signature import Kind, Library, Signature, Tier
from seatrial.triage.split import folded
from seatrial.triage.words import describe

CRASH = "false-ready-first-request"
CANDIDATES, WORTH_NAMING = 3, 0.02  # how many categories are named beside the answer, and from which probability
# How often the signatures alone were right on incidents that were new to them (tests/triage/data/blind_votes.jsonl).
ALONE = 0.87
# These take figures beside each other for a failure, whatever the figures are.
COMPARES = {"quality.numbers", "quality.eval"}
# Wrappers that repeat the cause in their own text.
QUOTING = "wrapper.worker-failed-with"
# These look at sizes, which words do not hold.
READS_NUMBERS = {"oom.other-owner", "kv.negative"}
# What pydantic says below the head of its error.
DETAIL = re.compile(r"^\s{0,4}(?:Value error|Assertion failed), |\[type=\w{2,40}, input_")
QUOTED = re.compile(r"(?:(?:NPUModelRunner (?:init )?failed, error is|Worker failed with error) ['\"]?)+")


class Reading(NamedTuple):
    """What the signatures made of a log: the input of the decision, and of the bench that learns from it.

    `rule` is the category that they alone would answer. `votes` counts, by kind and category, what they say for the
    second opinion; `words` is what that opinion reads.
    """

    judged: list[Judged]
    fatal: tuple[Death, ...]
    chosen: Judged | None
    crash: Event | None
    seen: quality.Impression | None
    focus: Event | None
    rule: str
    votes: dict[tuple[str, str], float]
    words: dict[str, float]
    signature: str  # the id of what gave the rule's answer, "" for none
    barred: frozenset[str]

    @property
    def told(self) -> bool:
        """Whether wrappers or consequences stand in the log: then something failed, and its cause is not there."""
        return any(j.kind in {Kind.WRAPPER, Kind.CONSEQUENCE} for j in self.judged)


def consider(material: Material, library: Library) -> Reading:
    """Everything that is known about the log before an answer is chosen."""
    events = folded(in_time(material.events)) if material.several_files else list(material.events)
    judged = [j for e in events if (j := classify(e, material.context, library)) is not None]
    fatal = deaths.in_log(events) + material.exits
    roots = [j for j in judged if j.kind is Kind.ROOT]
    unknown = [j for j in judged if j.kind is None]
    chosen = _choose(roots, unknown)
    crash = deaths.crash_after_ready(events, material.ready, fatal)
    seen = None
    tier = chosen.signature.tier if chosen and chosen.signature else Tier.WEAK
    if chosen and chosen.event.level == "WARNING" and tier < Tier.LITERAL:
        tier = Tier.WEAK
    if crash is not None and not (chosen is None or tier <= Tier.WEAK or _first_request(chosen)):
        crash = None
    plain = [text for _, _, text in material.plain]
    if crash is None and not unknown and not fatal and all(j.signature and j.signature.id in COMPARES for j in roots):
        if quality.bare(plain) or quality.fluent(plain) or (quality.look(plain) is None and quality.agrees(plain)):
            judged = [j for j in judged if j.kind is not Kind.ROOT]
            roots, chosen, plain = [], None, []
        elif chosen is None:
            seen = quality.look(plain)
    votes: dict[tuple[str, str], float] = {}
    rule, by = UNKNOWN, ""
    firm = any(j.signature is not None and j.signature.tier > Tier.WEAK for j in roots)
    if crash is not None and fatal and not unknown and not firm:
        # Nothing failed but the process itself, by a signal: there is nothing else that could be the cause.
        rule, by = CRASH, "deaths.signal"
        votes[f"chosen.{int(Tier.LITERAL)}", rule] = 1.0
    elif crash is not None:
        rule, by = CRASH, answer.AFTER_READY
        votes["crash", rule] = 1.0
    elif seen is not None:
        rule, by = seen.category, answer.CONTENT
        votes["content", rule] = 1.0
    elif chosen is not None and chosen.signature is not None and tier > Tier.WEAK:
        rule, by = chosen.signature.category, chosen.signature.id
        votes[f"chosen.{int(tier)}", rule] = 1.0
        if chosen.signature.context or chosen.signature.id in READS_NUMBERS:
            votes["context", rule] = 1.0
    for j in roots:
        if j.signature is not None and j.signature.category != rule:
            votes.setdefault((f"other.{int(j.signature.tier)}", j.signature.category), 1.0)
    focus = _focus(chosen, judged, crash, events) or _loud(events, judged)
    # A root that stepped back behind an unknown failure: whatever the cause is, it is not what follows from it.
    barred = {j.signature.category for j in roots if j.signature and j.signature.yields == "peer"}
    if chosen is not None or not unknown:
        barred = set()
    words = describe(focus, events, material.context, plain, ready=material.ready, requests=material.requests)
    return Reading(judged, fatal, chosen, crash, seen, focus, rule, votes, words, by, frozenset(barred))


def judge(material: Material, library: Library, *, second_opinion: bool = True) -> Diagnosis:
    """The answer: what the signatures say, held against what the failure reads like."""
    found = consider(material, library)
    if not second_opinion:
        return _rule(found, material, ALONE) if found.rule != UNKNOWN else answer.unknown(
            found.judged, material, found.fatal
        )  # fmt: skip
    by = found.chosen.signature if found.chosen and found.crash is None else None
    if by is not None and by.learned and found.rule == by.category:
        return _rule(found, material, ALONE)
    if found.focus is None and found.seen is None and (found.told or found.fatal or not _speaks(found)):
        return answer.unknown(found.judged, material, found.fatal)
    known = likeness.table()
    odds = likeness.probabilities(found.words, found.votes, known, found.rule, found.signature)
    odds = {c: p for c, p in odds.items() if c not in found.barred and (c == found.rule or _named(c, found.words))}
    given = _weigh(found, odds, known, material)
    if given.healthy:
        return given
    return replace(given, candidates=_ranked(odds, known))


def _weigh(found: Reading, odds: dict[str, float], known: likeness.Table, material: Material) -> Diagnosis:
    """The likeliest category where that is sure enough, by a signature or by the words alone."""
    best = max(odds, key=lambda category: odds[category])
    sure = odds[best]
    unread = best != found.rule and found.signature in READS_NUMBERS
    if best == UNKNOWN or sure < known.floor or unread:
        return answer.unknown(found.judged, material, found.fatal, _likely(found, odds, known), found.seen)
    sure = round(min(sure, known.ceiling), 2)
    if best != found.rule:
        return answer.likely(_likely(found, odds, known), found.focus, found.judged, material, found.fatal)
    return _rule(found, material, sure)


def _rule(found: Reading, material: Material, sure: float) -> Diagnosis:
    """What the signatures answer."""
    if found.crash is not None:
        return answer.crash(found.crash, found.chosen, found.judged, material, found.fatal, sure)
    if found.seen is not None:
        return answer.quality(found.seen, found.judged, material, sure)
    if found.chosen is None:
        raise ValueError("the signatures' answer has a signature")
    return answer.known(found.chosen, found.judged, material, found.fatal, sure)


def _likely(found: Reading, odds: dict[str, float], known: likeness.Table) -> likeness.Likely:
    """The likeliest category that has a name."""
    best = max((c for c in odds if c != UNKNOWN), key=lambda category: odds[category])
    return likeness.Likely(best, round(min(odds[best], known.ceiling), 2), likeness.speaking(found.words, best, known))


def _ranked(odds: dict[str, float], known: likeness.Table) -> tuple[Candidate, ...]:
    """The likeliest categories that have a name, best first."""
    named = sorted(((p, c) for c, p in odds.items() if c != UNKNOWN and p >= WORTH_NAMING), reverse=True)
    return tuple(Candidate(category=c, probability=round(min(p, known.ceiling), 2)) for p, c in named[:CANDIDATES])


def _focus(
    chosen: Judged | None, judged: Sequence[Judged], crash: Event | None, events: Sequence[Event]
) -> Event | None:
    """The event that says most about the cause: the chosen one, the first failure, a wrapper that quotes its cause."""
    if chosen is not None:
        return chosen.event
    failures = [j.event for j in judged if j.kind in {None, Kind.ROOT}]
    if failures:
        return failures[0]
    if crash is not None:
        return crash
    told = [j for j in judged if j.kind in {Kind.WRAPPER, Kind.CONSEQUENCE}]
    quoting = [j for j in told if j.signature is not None and j.signature.id == QUOTING]
    known = {id(j.event) for j in judged}
    detail = next((e for e in events if DETAIL.search(e.text) and id(e) not in known), None) if told else None
    return quoting[0].event if quoting else detail


def _loud(events: Sequence[Event], judged: Sequence[Judged]) -> Event | None:
    """The first line of level ERROR or above that nothing knows."""
    known = {id(j.event) for j in judged}
    return next((e for e in events if e.level in {"ERROR", "FATAL", "CRITICAL"} and id(e) not in known), None)


# Parts of an engine that leave their name in every failure of theirs: a log that does not name them is about another.
NAMES = {
    "sleep-mode-race": re.compile(r"sleep|wake|asleep|camem|cumem"),
    "lora": re.compile(r"lora|bgmv|sgmv|adapter|peft|punica"),
    "mtp-speculative": re.compile(r"spec|mtp|eagle|draft|medusa|ngram|nextn|propose"),
    "kv-transfer-pd": re.compile(
        r"transfer|connector|mooncake|nixl|prefill|datadist|lmcache|xfer|kv_|disagg|producer|consumer|decode_node"
    ),
    "structured-output": re.compile(r"grammar|guided|structured|schema|outlines|bitmask|json|fsm|guidance|regex"),
    "expert-parallel": re.compile(r"expert|moe|eplb|dispatch|mc2|deepep|deep_ep"),
    "thread-binding": re.compile(r"numa|cpu|bind|affin|taskset|omp|thread|core"),
}


def _named(category: str, words: Mapping[str, float]) -> bool:
    pattern = NAMES.get(category)
    return pattern is None or any(pattern.search(word) for word in words)


def _speaks(found: Reading) -> bool:
    """Whether a log without any failure has an answer or a score in it that may be the failure."""
    return any(word.startswith("q:") for word in found.words)


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
    if found and found[0].learned:
        return Judged(event, found[0].kind, found[0])
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
            if signature.id == QUOTING and (quoted := _quoted(event, context, library)) is not None:
                return Judged(event, Kind.ROOT, quoted)
            return Judged(event, wanted, signature)
    if weak is not None:
        return Judged(event, Kind.ROOT, weak)
    if event.exception and not quiet and not event.exception.endswith("Warning"):
        return Judged(event, None, None)
    if event.level in {"FATAL", "CRITICAL"} or "Check failed" in event.text:
        return Judged(event, None, None)
    return None


def _quoted(event: Event, context: str, library: Library) -> Signature | None:
    """The signature of what a wrapper repeats, where one knows it."""
    told = list(QUOTED.finditer(event.text))
    if not told:
        return None
    inner = msgspec.structs.replace(event, text=f"{event.exception or 'RuntimeError'}: {event.text[told[-1].end() :]}")
    found = library.of(inner, context)
    return next((s for s in found if s.kind is Kind.ROOT and s.tier > Tier.WEAK), None)


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
