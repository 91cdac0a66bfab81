"""What can happen in an optimisation loop: one record a kind, told apart by `kind`. They are the ledger.

Each says on what evidence it rests (`RUN` or `RUN/step` of the workspace); who writes it down checks that it exists.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record
from seatrial.measure.accuracy.records import Level

Phase = Literal["baseline", "evidence", "patch", "accuracy", "performance", "record", "stopped"]


class Goal(Record, tag_field="kind", tag="goal"):
    """What the loop is for. `reference` is the figure to reach (same unit as the judged one), with its source.

    `least_accuracy`: the level of `measure.accuracy` that a change's accuracy check must have.
    """

    goal: str
    model: str
    framework: str
    judged_by: str = "request_throughput"
    reference: float | None = None
    reference_source: str = ""
    sla: str = ""
    least_accuracy: Level = "L1"


class Baseline(Record, tag_field="kind", tag="baseline"):
    """The fair baseline: a formal, complete run; `value` is the judged figure's mean over its `runs`."""

    evidence: str
    value: float
    runs: int
    sla: str = ""
    sla_holds: bool | None = None
    is_formal: bool = True


class Evidence(Record, tag_field="kind", tag="evidence"):
    """What explains the gap (a profile, a capacity figure): it precedes the change that acts on it."""

    evidence: tuple[str, ...]
    hypothesis: str


class Setting(Record):
    """A flag or variable of the launch that the change sets: `flag.NAME` or `env.NAME`; None is "not given"."""

    field: str
    before: str | None
    after: str | None


class DiffFile(Record):
    """The difference as it is kept in the ledger's run: an artifact's name, SHA-256 (hex), bytes and file there."""

    name: str
    sha256: str
    bytes: int
    file: str


class Patch(Record, tag_field="kind", tag="patch"):
    """One reviewable change: code, a setting, or code with the setting that turns it on.

    `diff` is the SHA-256 (hex) of `file`, the difference of `root` from `commit` as `git apply` takes it (untracked
    files included), or without code that of `setting`. `change` tells either on one line. `paths` are below `root`.
    Neither `file` nor `setting`: a ledger from when a change was recorded in words.
    """

    diff: str
    change: str
    hypothesis: str
    expected: str
    risks: str
    commit: str = ""
    paths: tuple[str, ...] = ()
    root: str = ""
    file: DiffFile | None = None
    setting: Setting | None = None


class Accuracy(Record, tag_field="kind", tag="accuracy"):
    """Are the answers still right? `against`: the run from before the change, where a score was held against one."""

    evidence: str
    passed: bool
    level: str
    reason: str = ""
    diff: str = ""
    against: str = ""


class Performance(Record, tag_field="kind", tag="performance"):
    """The comparison of the change with the baseline. `answer` as in `Judged`; `value` is the change's mean.

    `pairs` are the run-level values of baseline and change, for the tie rule. `sla_holds` None: no level, or unknown.
    """

    evidence: str
    answer: Literal["pass", "fail", "inconclusive", "smoke-only"]
    reason: str
    value: float | None = None
    values: tuple[float, ...] = ()
    change: float | None = None
    sla: str = ""
    sla_holds: bool | None = None
    diff: str = ""


class Lesson(Record, tag_field="kind", tag="lesson"):
    """Closes a round: what was learnt, also from a failure; `kept` says whether the change stays."""

    text: str
    kept: bool
    risks: str = ""
    next_checks: str = ""


class Limit(Record, tag_field="kind", tag="limit"):
    """A hardware or compiler limit, by name, with what shows it."""

    name: str
    evidence: tuple[str, ...]


class Bottleneck(Record, tag_field="kind", tag="bottleneck"):
    """The dominant cost against its theoretical limit, in the same unit."""

    name: str
    current: float
    theoretical: float
    unit: str
    evidence: tuple[str, ...]


class Blocked(Record, tag_field="kind", tag="blocked"):
    """The next step needs a decision, hardware or data that is not here."""

    needs: str


class Stop(Record, tag_field="kind", tag="stop"):
    """The end, with the rule that allows it ("" for a person's own decision) and the reason."""

    rule: str
    reason: str


Event = Goal | Baseline | Evidence | Patch | Accuracy | Performance | Lesson | Limit | Bottleneck | Blocked | Stop


def read_event(data: object, where: str) -> Event:
    """An event from plain data; raises FileFormatError naming `where`."""
    try:
        found: Event = msgspec.convert(data, type=Event)
        return found
    except msgspec.ValidationError as exc:
        raise FileFormatError(f"{where}: {exc}") from exc
