"""One run: its folder, manifest, records and artifacts; made new, or opened again to read or to resume.

Only one process writes to a run at a time (a lock on the folder). Everything written is durable before the call
returns. A StepResult's facts are kept as an artifact, so that the records stay small whatever the checkpoint's size.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.atomic import write_atomic
from seatrial.core.command import Command
from seatrial.core.errors import WorkspaceError
from seatrial.core.finding import Finding
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_json, from_plain, to_json, to_plain
from seatrial.core.step import Span, StepResult
from seatrial.core.verdict import Outcome
from seatrial.evidence import records
from seatrial.evidence.artifacts import ArtifactRef, file_sha256, store_bytes, store_file
from seatrial.evidence.manifest import Manifest, without_secrets
from seatrial.evidence.workspace import explained

STEP = "step"


class StoredStep(Record):
    """A step as kept: the StepResult, with facts and attachments as artifacts, and the hash of what went into it."""

    step: str
    inputs: str
    outcome: Outcome
    summary: str
    facts: ArtifactRef
    started_at: str
    duration_s: float
    findings: tuple[Finding, ...]
    commands: tuple[Command, ...]
    artifacts: tuple[ArtifactRef, ...]
    timeline: tuple[Span, ...]


class Run:
    """A run's folder. Use `Run.create`, `Run.resume` (both lock it, `close` lets go) or `Run.read`."""

    def __init__(self, folder: Path, manifest: Manifest, log: records.Log, lock: int | None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.log = log
        self._lock = lock
        self._is_stale = False

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the records and their head, in words: a chain alone does not hold its last line."""
        trouble = records.head_error(self.folder, self.log)
        if trouble and self._lock is None:
            # A run that is being written may have gone on between two looks: then both have, and a third agrees.
            trouble = records.head_error(self.folder, records.read_log(self.folder))
        return (*self.log.problems, trouble) if trouble else self.log.problems

    @property
    def artifacts_folder(self) -> Path:
        return self.folder / "artifacts"

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> Run:
        """Make the run's folder. The manifest appears last: a folder without one is no run."""
        with explained(folder):
            (folder / "artifacts").mkdir(parents=True)
            lock = _lock(folder)
            write_atomic(folder / "manifest.json", to_json(manifest, indent=2))
            run = cls(folder, manifest, records.read_log(folder), lock)
        run.append("started", {"arguments": manifest.arguments})
        return run

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Open for reading; raises FileFormatError if the manifest is not one."""
        file = folder / "manifest.json"
        try:
            data = read_plain(file, limit=records.LARGEST)
        except OSError as exc:
            raise WorkspaceError(f"{file} cannot be read: {exc.strerror}", mend="Make it readable.") from exc
        manifest = from_json(Manifest, data, where=str(file))
        return cls(folder, manifest, records.read_log(folder), None)

    @classmethod
    def resume(cls, folder: Path) -> Run:
        """Open for writing. A torn last line is moved to an artifact and reported in a record."""
        with explained(folder):
            lock = _lock(folder)
        try:
            run = cls.read(folder)
            # The head is looked at before anything is appended: a new head would hide what was lost or changed.
            if run.problems:
                raise WorkspaceError(
                    f"run {run.run_id} cannot be resumed: {run.problems[0]}", mend="See `seatrial runs verify`."
                )
            run._lock = lock
            run._set_torn_aside()
            run.append("resumed", {})
        except BaseException:
            os.close(lock)
            raise
        return run

    def _set_torn_aside(self) -> None:
        with explained(self.folder):
            torn = self.log.torn
            if not torn:
                return
            ref = store_bytes(self.artifacts_folder, "torn-record.txt", torn)
            file = self.folder / records.RECORDS
            os.truncate(file, file.stat().st_size - len(torn))
            self.log = records.read_log(self.folder)
        self.append("torn", {"reason": "the last record was cut off by a kill", "artifact": to_plain(ref)})

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, kind: str, body: Any) -> None:
        """Add a record."""
        if self._lock is None:
            raise RuntimeError("the run is open for reading only")
        if self._is_stale:
            # A stop or a full disk in the middle of the last record: what is in the file counts.
            self.log = records.read_log(self.folder)
            self._is_stale = False
            self._set_torn_aside()
        self._is_stale = True
        with explained(self.folder):
            self.log = records.append(self.folder, self.log, kind, body)
        self._is_stale = False

    def store(self, result: StepResult, *, inputs: str, started_at: str, duration_s: float) -> StoredStep:
        """Keep a step: its attachments and facts as artifacts, then one record."""
        with explained(self.folder):
            attached = tuple(store_file(self.artifacts_folder, a.name, Path(a.path)) for a in result.attachments)
            facts = store_bytes(self.artifacts_folder, f"{result.step}-facts.json", to_json(result.facts, indent=1))
        stored = StoredStep(
            step=result.step,
            inputs=inputs,
            outcome=result.outcome,
            summary=result.summary,
            facts=facts,
            started_at=started_at,
            duration_s=round(duration_s, 3),
            findings=result.findings,
            commands=tuple(map(without_secrets, result.commands)),
            artifacts=attached,
            timeline=result.timeline,
        )
        self.append(STEP, stored)
        return stored

    def steps(self) -> dict[str, StoredStep]:
        """The last record of each step, in order of first appearance."""
        found: dict[str, StoredStep] = {}
        for entry in self.log.entries:
            if entry.kind == STEP:
                body = to_plain(entry.body)
                stored = from_plain(StoredStep, body, where=f"{self.run_id} record {entry.seq}")
                found[stored.step] = stored
        return found

    def is_whole(self, stored: StoredStep) -> bool:
        """Whether every artifact of the step is there and unchanged."""
        return all(self.has(ref) for ref in (stored.facts, *stored.artifacts))

    def keep_file(self, name: str, source: Path) -> ArtifactRef:
        """Keep a copy of a file as an artifact; the caller records the reference."""
        with explained(self.folder):
            return store_file(self.artifacts_folder, name, source)

    def keep_bytes(self, name: str, data: bytes) -> ArtifactRef:
        """Keep bytes as an artifact; the caller records the reference."""
        with explained(self.folder):
            return store_bytes(self.artifacts_folder, name, data)

    def has(self, ref: ArtifactRef) -> bool:
        """Whether the artifact is there and unchanged."""
        path = self.artifacts_folder / ref.file
        try:
            return path.is_file() and file_sha256(path) == ref.sha256
        except OSError:
            return False  # what nobody can read is not there

    def artifact(self, ref: ArtifactRef) -> Path:
        return self.artifacts_folder / ref.file

    def facts_of(self, stored: StoredStep) -> Any:
        """A step's facts as plain data; raises WorkspaceError where they are missing or not what was recorded."""
        try:
            # What is larger than what was recorded is not read: another's evidence may lead anywhere, and say anything.
            limit = max(0, min(stored.facts.bytes, records.LARGEST))
            data = read_plain(self.artifact(stored.facts), limit=limit)
            why = "it was changed"
        except OSError as exc:
            data, why = b"", "it was changed" if exc.errno == errno.EFBIG else exc.strerror or str(exc)
        if records.sha256(data) != stored.facts.sha256:
            raise WorkspaceError(
                f"run {self.run_id}: the facts of {stored.step} cannot be used: {why}",
                mend="See `seatrial runs verify`.",
            )
        return msgspec.json.decode(data)

    def sound(self) -> Run:
        """Itself, if its records are what was written; raises WorkspaceError where one was changed or is gone."""
        if found := self.problems:
            raise WorkspaceError(f"run {self.run_id} cannot be used: {found[0]}", mend="See `seatrial runs verify`.")
        return self

    def last(self, kind: str) -> records.Entry | None:
        """The newest record of a kind."""
        return next((e for e in reversed(self.log.entries) if e.kind == kind), None)


def _lock(folder: Path) -> int:
    handle = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise WorkspaceError(
            f"run {folder.name} is being written by another seatrial", mend="Wait for it, or stop it first."
        ) from None
    return handle
