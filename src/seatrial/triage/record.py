"""What a triage answers: the records other folders use."""

from __future__ import annotations

from typing import Literal

import msgspec

from seatrial.core.record import Record


class Frame(Record):
    """One traceback entry; `code` is the source line if the log shows it."""

    path: str
    line: int
    function: str
    code: str = ""


class FirstCause(Record):
    """The earliest thing in the log that explains the failure.

    `line` counts from 1 in `file`; `process` and `time` are as the log writes them, empty when it does not. `count` is
    how often the failure was logged, `processes` (at most 64) by whom.
    """

    text: str
    file: str
    line: int
    process: str = ""
    time: str = ""
    exception: str = ""
    frames: tuple[Frame, ...] = ()
    count: int = 1
    processes: tuple[str, ...] = ()


class Mention(Record):
    """A line that is not the cause, with how often and in which processes it was seen."""

    text: str
    file: str
    line: int
    process: str = ""
    count: int = 1
    signature: str = ""
    kind: str = ""


class SourceNote(Record):
    """What became of one input: read to its end, or dropped with a reason."""

    file: str
    size: int
    lines: int
    sha256: str = ""
    dropped: str = ""


class Death(Record):
    """A process that ended by a signal or a bad exit code; `code` is negative for a signal, as in subprocess.

    `file` and `line` say where the log tells of it, "" and 0 where the caller knew.
    """

    process: str
    code: int
    meaning: str
    file: str = ""
    line: int = 0


class PastIncident(Record):
    """A failed step of an earlier run that failed alike: by its "text" (numbers, paths and names freed) or "signature".

    `later_pass` is the first later run of the same checkpoint and target in which that step passed, "" if none did.
    """

    run: str
    step: str
    created_at: str
    checkpoint: str
    target: str
    category: str
    text: str
    alike_by: str
    later_pass: str


class Past(Record):
    """What a workspace knows about this failure: `total` incidents (the newest are listed) in `runs` runs read."""

    incidents: tuple[PastIncident, ...]
    total: int
    runs: int
    unreadable: int


class Candidate(Record):
    """A category and its probability, whether or not that is enough for an answer."""

    category: str
    probability: float


class Diagnosis(Record):
    """The answer. `category` is one of `categories.CATEGORIES` or "unknown"; `confidence` is the expected hit rate.

    `candidates` are the likeliest categories, best first; none where nothing in the log speaks for any.

    With category "unknown" `first_cause` may still hold the first unexplained failure. `healthy` says that nothing in
    the log looks like a failure at all. `others` are failures beside the cause, those of no signature that stand before
    it among them; `unlisted` counts what the groups of mentions leave out.
    """

    schema_version: int
    category: str
    confidence: float
    first_cause: FirstCause | None
    explanation: str
    next_step: str
    signature: str
    consequences: tuple[Mention, ...] = ()
    noise: tuple[Mention, ...] = ()
    wrappers: tuple[Mention, ...] = ()
    evidence: tuple[Mention, ...] = ()
    others: tuple[Mention, ...] = ()
    deaths: tuple[Death, ...] = ()
    collect: tuple[str, ...] = ()
    sources: tuple[SourceNote, ...] = ()
    ready: bool = False
    healthy: bool = False
    rung: str = ""
    candidates: tuple[Candidate, ...] = ()
    unlisted: int = 0
    past: Past | None = None  # None: no workspace was looked at


class Event(msgspec.Struct, kw_only=True):
    """One distinct line worth judging (duplicates are folded into `count` and `processes`). Not part of the answer.

    `text` is without its prefix. `exception` is the class name when the line ends a traceback. `order` is the place in
    the whole input. `requests` counts completion requests answered before it.
    """

    text: str
    file: str
    line: int
    order: int
    process: str = ""
    time: str = ""
    level: str = ""
    logger: str = ""
    exception: str = ""
    message: str = ""
    frames: tuple[Frame, ...] = ()
    chained_to: int | None = None
    count: int = 1
    processes: list[str] = msgspec.field(default_factory=list)
    ready: bool = False
    requests: int = 0


Link = Literal["cause", "context", ""]
