"""What a delivery is asked for and what it comes to: `Order`, `Outgoing`, `Dropped`, `Plan`, `Delivered`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from seatrial.core.record import Record

SCHEMA_VERSION = 1
Kind = Literal["ascend", "kunlun", "generic"]
Language = Literal["zh", "en"]
What = Literal[
    "accuracy-yaml", "registration", "tutorial", "index", "support-matrix", "readme", "adapter-registration",
    "analysis", "runbook", "comment", "checklist", "included", "score",
]  # fmt: skip
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
PLATFORM = {"ascend": "ascend", "kunlun": "kunlun", "generic": ""}


class Order(Record):
    """`model` is the name files get; `model_id` the published one (`Qwen/Qwen3-8B`), declared by the author, or empty.

    `explained`: subject to the author's reason for a proof that is missing. `hardware`: as the repository names it.
    """

    kind: Kind
    model: str
    model_id: str = ""
    hardware: str = ""
    languages: tuple[Language, ...] = ("zh",)
    explained: dict[str, str] = msgspec.field(default_factory=dict)
    include: tuple[str, ...] = ()
    branch: str = ""

    @property
    def branch_name(self) -> str:
        return self.branch or f"feature/add-{slug(self.model)}"


class Outgoing(Record):
    """A file of the delivery: its path (in the repository, or in the bundle), its whole new text, and what it is."""

    path: str
    text: str
    what: What


class Dropped(Record):
    """An artifact that is not written, and why."""

    what: str
    reason: str


class Plan(Record):
    """`files` go into the commit, `bundle` beside the evidence. Nothing has been written yet."""

    files: tuple[Outgoing, ...]
    bundle: tuple[Outgoing, ...]
    dropped: tuple[Dropped, ...]


class FileSum(Record):
    path: str
    what: str
    sha256: str


class ScoreRun(Record):
    """A recorded accuracy run or bench that is quoted, and the hash of its head when it was."""

    run_id: str
    head_sha256: str


class Delivered(Record):
    """`delivery.json` of a bundle. `commit` is empty when nothing was committed. Refuses names that are no plain ones:
    whoever wrote the file must not choose which files are read.
    """

    schema_version: int
    run_id: str
    head_sha256: str
    kind: Kind
    model: str
    repository: str
    base: str
    branch: str
    commit: str
    order: Order
    files: tuple[FileSum, ...]
    bundle: tuple[FileSum, ...]
    dropped: tuple[Dropped, ...]
    accuracy: tuple[ScoreRun, ...] = ()
    benches: tuple[ScoreRun, ...] = ()
    benches_refused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.run_id, *(a.run_id for a in (*self.accuracy, *self.benches))):
            if not RUN_ID.fullmatch(name):
                raise ValueError(f"{name[:80]!r} cannot be the name of a run")
        for file in (*self.files, *self.bundle):
            parts = PurePosixPath(file.path).parts
            if not parts or file.path.startswith("/") or ".." in parts or "\0" in file.path:
                raise ValueError(f"the path {file.path[:80]!r} leads out of the delivery")


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "model"
