"""What a step of the main job hands back. Steps return this; only the workflow stores it and only the CLI prints it."""

from __future__ import annotations

from typing import Any, Literal

from seatrial.core.command import Command
from seatrial.core.finding import Finding
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome


class Span(Record):
    """A stretch of time, in seconds since the step began.

    `whose` says who spent it: "engine" (imports, start-up, requests, shutdown of the engine) or "seatrial".
    """

    name: str
    start_s: float
    duration_s: float
    whose: Literal["engine", "seatrial"]


class Attachment(Record):
    """A file the step produced (a raw log, a request, a response), still at `path`; evidence takes it from there."""

    name: str
    path: str


class StepResult(Record):
    """The outcome of one step.

    `summary` is one line for the verdict table. `facts` is a record of the step's own folder (plain data once it has
    been through a file). `commands` reproduce the step by hand. `timeline` is in order of start.
    """

    step: str
    outcome: Outcome
    summary: str
    facts: Any
    findings: tuple[Finding, ...] = ()
    commands: tuple[Command, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    timeline: tuple[Span, ...] = ()
