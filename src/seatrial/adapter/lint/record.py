"""What the linter hands back: problems with their places and edits, and what it could not look at."""

from __future__ import annotations

from seatrial.core.record import Record

SCHEMA_VERSION = 1


class Edit(Record):
    """Replace the bytes from `start` to `end` (offsets into the file) by `text`."""

    start: int
    end: int
    text: str


class Problem(Record):
    """One place where a rule fires. Lines count from one, columns from one and in characters, as editors do.

    `fix` is empty where only a person can mend it.
    """

    code: str
    path: str
    line: int
    column: int
    end_line: int
    message: str
    fix: tuple[Edit, ...] = ()


class Ignored(Record):
    """A problem that a comment in the file answers for, with the reason given there."""

    code: str
    path: str
    line: int
    reason: str


class NotRun(Record):
    """A rule that could not look, and why: it is no clean bill."""

    code: str
    reason: str


class Skipped(Record):
    """A folder or file that was not looked at, and why."""

    path: str
    reason: str


class LintReport(Record):
    """One run. `path` is the folder or file looked at; paths of problems are relative to `root`."""

    schema_version: int
    path: str
    root: str
    platform: str
    engine: str
    engine_version: str
    files: int
    rules: tuple[str, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[Ignored, ...]
    not_run: tuple[NotRun, ...]
    skipped: tuple[Skipped, ...] = ()
