"""Judged events as the answer lists them: the cause, and what stands beside it, each said once.

vLLM logs a worker's traceback again in the engine core and in the API server: the same failure in other processes is no
other failure. In: judged events. Out: records, with how often and by whom they were said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seatrial.core.record import replace
from seatrial.triage.record import Event, FirstCause, Mention
from seatrial.triage.signature import Kind, Signature

MAX_PROCESSES = 64


class Judged(NamedTuple):
    event: Event
    kind: Kind | None  # None: a failure that no signature knows
    signature: Signature | None


def says(event: Event) -> tuple[str, str]:
    """What two loggings of one failure share."""
    return event.exception.rpartition(".")[2], event.message or event.text


def apart(cause: Event, rest: Iterable[Judged]) -> list[Judged]:
    """`rest` without the failures that only say again what the cause says."""
    return [j for j in rest if not _again(cause, j)]


def _again(cause: Event, judged: Judged) -> bool:
    failure = judged.kind in {None, Kind.ROOT} and judged.event is not cause
    return failure and bool(cause.exception) and bool(cause.message) and says(judged.event) == says(cause)


def first_cause(event: Event, rest: Sequence[Judged]) -> FirstCause:
    """The cause, with all that logged it."""
    again = [j.event for j in rest if _again(event, j)]
    processes = dict.fromkeys(p for e in (event, *again) for p in e.processes)
    return FirstCause(
        text=event.text[:2000], file=event.file, line=event.line, process=event.process, time=event.time,
        exception=event.exception, frames=event.frames[-12:], count=event.count + sum(e.count for e in again),
        processes=tuple(processes)[:MAX_PROCESSES],
    )  # fmt: skip


def mentions(group: Iterable[Judged]) -> tuple[Mention, ...]:
    """One record for all that say the same, at the place of the first."""
    found: dict[tuple[str, str, str], Mention] = {}
    for judged in group:
        event = judged.event
        key = (*says(event), judged.kind.value if judged.kind else "")
        known = found.get(key)
        if known is None:
            found[key] = Mention(
                text=event.text[:400], file=event.file, line=event.line, process=event.process, count=event.count,
                signature=judged.signature.id if judged.signature else "", kind=key[2],
            )  # fmt: skip
        else:
            found[key] = replace(known, count=known.count + event.count)
    return tuple(found.values())
