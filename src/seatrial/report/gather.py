"""What a report is made from: a run's manifest, records and facts, read with bounds and checked against their hashes.

In: a Run. Out: a `Gathered`. Refuses nothing: what is missing, changed or too large is said in `problem`, not raised.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain, to_plain
from seatrial.evidence import ArtifactRef, Manifest, Run, StoredStep
from seatrial.evidence.records import Entry

# Facts of 100,000 tensors are some 30 MB; ten times that is no facts file of ours.
MAX_FACTS = 300 << 20
MAX_TEXT = 64 << 10


class StepFacts(Record):
    """A step as recorded, its facts as plain data, and `problem`: why they could not be read (empty if they could).

    `damaged`: they are not what was recorded, or gone.
    """

    stored: StoredStep
    facts: Any
    problem: str
    damaged: bool = False


class Gathered(Record):
    """`problems` are faults of the records themselves. `state`: finished, interrupted, error or unfinished."""

    run_id: str
    manifest: Manifest
    steps: dict[str, StepFacts]
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    state: str
    finished: dict[str, Any]
    folder: str

    @property
    def damage(self) -> str:
        """Why nothing that the records say can be believed; empty if they and the facts are as they were written."""
        lost = (f"{step}: {known.problem}" for step, known in self.steps.items() if known.damaged)
        return next(chain(self.problems, lost), "")

    @property
    def told(self) -> dict[str, Any]:
        """What the last record says of the run. Damaged evidence seals nothing, whatever it says."""
        if not self.finished or not self.damage:
            return self.finished
        why = f"the evidence is damaged: {self.damage}"
        return {**self.finished, "verdict": "fail", "signed_off": False, "reason": why}

    def artifact_text(self, ref: ArtifactRef) -> str | None:
        """The beginning of a small text artifact, or None: absent, changed, no plain file, or over 64 KiB."""
        content = read_artifact(Path(self.folder), ref, MAX_TEXT)
        return None if content.problem else content.data.decode(errors="replace")


def gather(run: Run) -> Gathered:
    """Read everything a report needs."""
    problems = list(run.problems)
    if run.log.torn:
        problems.append("the last record was cut off by a kill; it is not read")
    steps: dict[str, StepFacts] = {}
    for entry in run.log.entries:
        if entry.kind != "step":
            continue
        try:
            stored = from_plain(StoredStep, to_plain(entry.body), where=f"record {entry.seq}")
        except FileFormatError as exc:
            problems.append(exc.message)
            continue
        steps.pop(stored.step, None)
        content = read_artifact(run.folder, stored.facts, MAX_FACTS)
        facts: Any = None
        problem = content.problem
        if not problem:
            try:
                facts = msgspec.json.decode(content.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                problem = f"the facts are not JSON: {exc}"
        steps[stored.step] = StepFacts(stored=stored, facts=facts, problem=problem, damaged=content.damaged)
    kinds = [e.kind for e in run.log.entries]
    last = kinds[-1] if kinds else ""
    body = run.last("finished") if last == "finished" else None
    finished = to_plain(body.body) if body else {}
    return Gathered(
        run_id=run.run_id,
        manifest=run.manifest,
        steps=steps,
        entries=run.log.entries,
        problems=tuple(problems),
        state=last if last in ("finished", "interrupted", "error") else "unfinished",
        finished=finished if isinstance(finished, dict) else {},
        folder=str(run.folder),
    )


class Content(Record):
    data: bytes
    problem: str
    damaged: bool = False


def read_artifact(folder: Path, ref: ArtifactRef, limit: int) -> Content:
    """A run's artifact if it is the plain, unchanged file that was recorded."""
    name = ref.file
    path = folder / "artifacts" / name
    if not name or Path(name).name != name or name.startswith("."):
        return Content(data=b"", problem=f"the record names no artifact but {name!r}", damaged=True)
    if path.is_symlink() or not path.is_file():
        return Content(data=b"", problem=f"the artifact {name} is missing", damaged=True)
    if path.stat().st_size > limit:
        return Content(data=b"", problem=f"the artifact {name} is over {limit >> 20} MiB and was not read")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        why = f"the artifact {name} was changed since it was recorded; it is not shown"
        return Content(data=b"", problem=why, damaged=True)
    return Content(data=data, problem="")
