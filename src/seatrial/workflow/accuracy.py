"""Keep what `seatrial accuracy` found as a run: the steps of a rung, a parity, a locate or a matrix, and their verdict.

The run's kind is `accuracy`; its manifest says what was asked. A rung's step is `accuracy-LEVEL` with the five files
attached, so that a delivery and the loop can take its score from the record. A run that ends early keeps its partial
predictions and says that it was interrupted.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from seatrial.core.errors import SeatrialError, Stopped, UsageError
from seatrial.core.record import Record, to_json, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, combine
from seatrial.engine.border import ProbeSession
from seatrial.engine.versions import installed_versions
from seatrial.evidence import ArtifactRef, Run, StoredStep, Workspace
from seatrial.evidence.artifacts import file_sha256
from seatrial.evidence.records import now, sha256
from seatrial.measure.accuracy.level import STEP
from seatrial.measure.accuracy.run import FILES, AccuracyRun, read_files
from seatrial.measure.load.facts import checkpoint_facts
from seatrial.targets import Located
from seatrial.workflow.begin import manifest_for

SLICES = ("engine", "reference")  # what `locate` writes beside its log

# What a job that ends early leaves beside the five files: one line for each candidate that bisect tried.
TRIALS = "trials.jsonl"

What = Literal["level", "import", "parity", "locate", "ab", "bisect"]


class AccuracyJob(Record):
    """What was asked: `options` of `what`, as plain data. `target` is empty where nothing of ours was started, and
    `checkpoint` where bisect's command alone knows it.
    """

    kind: Literal["accuracy"]
    what: What
    checkpoint: str
    target: str = ""
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class AccuracyEnded(Record):
    """What came of it; `results` in the order of the steps."""

    run_id: str
    folder: str
    verdict: Verdict
    reason: str
    results: tuple[StepResult, ...]


Work = Callable[[str, Path], Sequence[StepResult]]


def run_accuracy(
    job: AccuracyJob,
    work: Work,
    *,
    workspace: Workspace,
    located: Located | None,
    python: Path | None,
    inputs: Mapping[str, Path] | None = None,
    argv: tuple[str, ...] = (),
    keep: Path | None = None,
    leaves: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> AccuracyEnded:
    """Do `work(run id, scratch)` and keep its steps. `inputs`: files whose hashes belong to the manifest.

    `keep`: the folder to work in, left as it is afterwards; else one of the workspace, whose logs stay after an error.
    `leaves`: where the five files appear as they come, if not in `files` there. An error is recorded and raised.
    """
    checkpoint = Path(job.checkpoint)
    name = workspace.new_run_id(f"accuracy-{checkpoint.absolute().name if job.checkpoint else job.what}")
    scratch = keep or workspace.scratch(name)
    leaves = leaves or scratch / "files"
    versions: dict[str, str] = {}
    if python is not None and located is not None:
        with ProbeSession(python, log=scratch / "versions.log", env=located.target.launch.env) as session:
            versions = installed_versions(session)
    hashes = {key: file_sha256(path) for key, path in (inputs or {}).items() if path.is_file()}
    if job.checkpoint and checkpoint.is_dir():
        facts = checkpoint_facts(checkpoint)
        hashes |= {k: str(v) for k, v in facts.items() if k in ("model", "tokenizer") and v is not None}
    manifest = manifest_for(
        name,
        arguments=to_plain(job),
        checkpoint=str(checkpoint.resolve()) if job.checkpoint and checkpoint.is_dir() else job.checkpoint,
        located=located,
        python=str(python or ""),
        versions=versions,
        inputs=hashes,
        argv=argv,
    )
    asked = sha256(to_json([manifest.arguments, manifest.target, versions, hashes]))
    run = Run.create(workspace.runs_folder / name, manifest)
    say(f"run {name}")
    try:
        started_at, began = now(), time.monotonic()
        results = tuple(work(name, scratch))
        took = time.monotonic() - began
        for result in results:
            run.store(result, inputs=asked, started_at=started_at, duration_s=took)
        verdict = combine(r.outcome.verdict for r in results)
        reason = next((r.outcome.reason for r in results if r.outcome.verdict is verdict), "")
        told: dict[str, Any] = {
            "verdict": verdict,
            "signed_off": False,
            "reason": reason,
            "kind": "accuracy",
            "run_id": name,
        }
        told["wall_s"] = round(took, 3)
        run.append("finished", told)
        if keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
        return AccuracyEnded(run_id=name, folder=str(run.folder), verdict=verdict, reason=reason, results=results)
    except (Stopped, KeyboardInterrupt) as exc:
        run.append("interrupted", {"reason": str(exc) or "interrupted", "left": _left(run, leaves)})
        raise
    except SeatrialError as exc:
        run.append("error", {"reason": exc.one_line(), "left": _left(run, leaves)})
        raise
    finally:
        run.close()
        if keep is None:
            # An error's message names a log, which stays; slices and dumps do not.
            for big in SLICES:
                shutil.rmtree(scratch / big, ignore_errors=True)


def accuracy_step(run: Run) -> StoredStep | None:
    """The last rung kept in a run (`accuracy-L0` to `accuracy-L5` with its files); None if there is none."""
    steps = [s for s in run.steps().values() if s.step.startswith(STEP) and files_of(s)]
    return steps[-1] if steps else None


def files_of(stored: StoredStep) -> dict[str, ArtifactRef]:
    """The five files among a step's artifacts by name; empty unless all are there."""
    found = {ref.name: ref for ref in stored.artifacts if ref.name in FILES}
    return found if len(found) == len(FILES) else {}


def kept_files(run: Run) -> dict[str, Path]:
    """Where the five files of the kept rung lie, by name (`score.json` is what `seatrial deliver --accuracy` takes).

    Raises UsageError if the run holds no rung, or if a file is not as it was recorded.
    """
    stored = accuracy_step(run)
    if stored is None:
        raise UsageError(f"run {run.run_id} holds no rung of the ladder", mend="Name a run of `seatrial accuracy run`.")
    files = files_of(stored)
    changed = [name for name, ref in files.items() if not run.has(ref)]
    if changed:
        raise UsageError(
            f"run {run.run_id}: {changed[0]} is missing or was changed", mend="See `seatrial runs verify`."
        )
    return {name: run.artifact(ref) for name, ref in files.items()}


def read_kept(run: Run) -> AccuracyRun:
    """The rung kept in a run; raises like `kept_files`, and FileFormatError for files that contradict each other."""
    return read_files(kept_files(run), where=f"run {run.run_id}")


def _left(run: Run, leaves: Path) -> list[Any]:
    """What an ended rung had written: kept, so that nothing asked is lost; never a result (there is no score)."""
    return [to_plain(run.keep_file(name, leaves / name)) for name in (*FILES, TRIALS) if (leaves / name).is_file()]
