"""What changed in one source root since a commit."""

from __future__ import annotations

from typing import Literal

from seatrial.core.finding import Finding
from seatrial.core.record import Record

Kind = Literal["mapping", "import", "kernel", "model", "delivery", "unrelated"]


class Hunk(Record):
    """One run of changed lines. `line` is in the new file (in the old one for a pure removal); `why` the class."""

    line: int
    added: int
    removed: int
    kind: Kind
    why: str


class FileChange(Record):
    """One file. `hunks` is empty for a binary file, whose `kind` then says its class."""

    path: str
    status: Literal["added", "changed", "removed"]
    tracked: bool
    kind: Kind
    hunks: tuple[Hunk, ...] = ()


class RootChanges(Record):
    """All of a root. `base_source` says where the base commit comes from; `commits` are those made since, newest first.

    `patch_sha256` is the hash of the whole difference as `git apply` takes it, untracked files included.
    `findings` warn of edits that serve nothing the adaptation needs.
    """

    schema_version: int
    root: str
    base: str
    base_source: str
    head: str
    commits: tuple[str, ...]
    files: tuple[FileChange, ...]
    patch_sha256: str
    findings: tuple[Finding, ...] = ()

    def count(self) -> dict[str, int]:
        """Changed lines (added and removed) by class."""
        out: dict[str, int] = {}
        for file in self.files:
            for hunk in file.hunks:
                out[hunk.kind] = out.get(hunk.kind, 0) + hunk.added + hunk.removed
        return out
