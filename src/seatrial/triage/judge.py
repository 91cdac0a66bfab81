"""From events to the one answer: which is the first cause, what merely follows from it, what is noise.

In: the events of all inputs in order, the context lines, exit codes. Out: a `Diagnosis`. It says "unknown" rather than
guess: when nothing matches, when a failure that nobody knows comes before a match that could follow from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.triage import answer, deaths, quality
from seatrial.triage.answer import Judged, Material
from seatrial.triage.lines import depth, sortable_time
from seatrial.triage.record import Diagnosis, Event
from seatrial.triage.signature import Kind, Library, Tier


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
        return answer.crash(crash, chosen, judged, material, fatal)
    if chosen is None and not unknown and not fatal and (seen := quality.look([text for _, _, text in material.plain])):
        return answer.quality(seen, judged, material)
    if chosen is None or chosen.signature is None or tier <= Tier.WEAK:
        return answer.unknown(judged, material, fatal)
    return answer.known(chosen, judged, material, fatal)


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
