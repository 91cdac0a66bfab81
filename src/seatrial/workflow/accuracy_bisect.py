"""Bisect as a run: every trial is kept as it comes, so that a search that was stopped goes on where it was.

In: a `BisectJob`, or the name of an earlier run to go on with. Out: the ended run. A trial that could not say is made
again; the others are taken as they were, and said to be. Refuses (UsageError): a job that names no candidates, a run
that is no bisect.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import UsageError
from seatrial.core.record import Record, from_plain, replace, to_json, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.evidence import Run, Workspace
from seatrial.measure.accuracy import bisect_candidates as candidates
from seatrial.measure.accuracy.bisect import Trial, bisect
from seatrial.workflow.accuracy import TRIALS, AccuracyEnded, AccuracyJob, run_accuracy

LOG = "bisect.log"


class BisectJob(Record):
    """`repo`: commits of it, in work trees. `versions`: these, oldest first; with `package` each is installed into an
    environment of its own, made by `python` (default: seatrial's) with `pip_args`.
    """

    good: str
    bad: str
    cmd: str
    repo: str = ""
    versions: tuple[str, ...] = ()
    package: str = ""
    python: str = ""
    pip_args: tuple[str, ...] = ()
    repeats: int = 1
    timeout_s: float = 3600.0


def check_bisect(job: BisectJob) -> tuple[str, ...]:
    """The candidates from `good` to `bad`; raises UsageError for a job that cannot be done."""
    if bool(job.repo) == bool(job.versions):
        raise UsageError("give either --repo or --versions", mend="--repo DIR for commits, --versions A,B,C.")
    if job.repo and job.package:
        raise UsageError("--package needs --versions", mend="Leave out --repo, or --package.")
    try:
        if not shlex.split(job.cmd):
            raise UsageError("--cmd is empty", mend="Name the command that says good (0) or bad (1).")
    except ValueError as exc:
        raise UsageError(f"--cmd cannot be read: {exc}", mend="Mend its quotes.") from exc
    if "{python}" in job.cmd and not job.package:
        raise UsageError("--cmd says {python}, but no environment is made", mend="Add --package.")
    if job.repo:
        return candidates.commits(Path(job.repo), job.good, job.bad)
    known = job.versions
    if twice := next((v for v in known if known.count(v) > 1), ""):
        raise UsageError(f"--versions: {twice} is named twice", mend="List each once, oldest first.")
    if job.good not in known or job.bad not in known or known.index(job.good) >= known.index(job.bad):
        raise UsageError("--good and --bad must be among --versions, in that order", mend="List them oldest first.")
    return known[known.index(job.good) : known.index(job.bad) + 1]


def run_bisect(
    job: BisectJob,
    *,
    workspace: Workspace,
    known: tuple[Trial, ...] = (),
    resumes: str = "",
    argv: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> AccuracyEnded:
    """Search, and keep what was tried. `known`: the trials of the run `resumes`."""
    listed = check_bisect(job)

    def work(_: str, scratch: Path) -> tuple[StepResult, ...]:
        log, trials = scratch / LOG, scratch / "files" / TRIALS
        trials.parent.mkdir(parents=True, exist_ok=True)
        log.touch()

        def keep(trial: Trial) -> None:
            with trials.open("ab") as stream:
                stream.write(to_json(trial) + b"\n")

        for trial in known:
            keep(trial)
        with tempfile.TemporaryDirectory(prefix="seatrial-bisect-") as place:
            result = bisect(
                listed,
                lambda candidate: _once(job, candidate, Path(place), log),
                repeats=job.repeats,
                known=known,
                seen=keep,
                say=say,
            )
        kept = tuple(Attachment(name=f.name, path=str(f)) for f in (log, trials) if f.is_file())
        return (replace(result, attachments=kept),)

    options: dict[str, Any] = {**to_plain(job), **({"resumes": resumes} if resumes else {})}
    return run_accuracy(
        AccuracyJob(kind="accuracy", what="bisect", checkpoint="", options=options),
        work,
        workspace=workspace,
        located=None,
        python=None,
        argv=argv,
        say=say,
    )


def earlier(workspace: Workspace, name: str) -> tuple[str, BisectJob, tuple[Trial, ...]]:
    """The whole name, the job and the trials of a bisect that was stopped, killed or could not say."""
    run = Run.read(workspace.run_folder(name))
    arguments = run.manifest.arguments
    if arguments.get("what") != "bisect":
        raise UsageError(f"run {run.run_id} is no bisect", mend="Name a run of `seatrial accuracy bisect`.")
    told = {k: v for k, v in arguments["options"].items() if k != "resumes"}
    return run.run_id, from_plain(BisectJob, told, where=f"run {run.run_id}"), _trials(workspace, run)


def _trials(workspace: Workspace, run: Run) -> tuple[Trial, ...]:
    """From the record of the stop or of the step; of a run that was killed, from what it left in its scratch folder."""
    refs = [a for s in run.steps().values() for a in s.artifacts if a.name == TRIALS]
    places = [run.artifact(ref) for ref in refs if run.has(ref)]
    for kind in ("interrupted", "error"):
        entry = run.last(kind)
        for left in entry.body.get("left", []) if entry is not None else []:
            if left.get("name") == TRIALS:
                places.append(run.folder / "artifacts" / str(left["file"]))
    places.append(workspace.root / "scratch" / run.run_id / "files" / TRIALS)
    lines = next((p.read_bytes().splitlines() for p in places if p.is_file()), [])
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Trial))
        except msgspec.DecodeError:
            break  # the line that a kill tore: that trial is made again
    return tuple(found)


def _once(job: BisectJob, candidate: str, folder: Path, log: Path) -> int | None:
    """One run of the user's command at one candidate."""
    if job.repo:
        with candidates.checkout(Path(job.repo), candidate, folder) as tree:
            return candidates.command(job.cmd, candidate=candidate, cwd=tree, log=log, timeout_s=job.timeout_s)
    if not job.package:
        return candidates.command(job.cmd, candidate=candidate, cwd=None, log=log, timeout_s=job.timeout_s)
    with candidates.installed(
        job.package,
        candidate,
        folder,
        base=Path(job.python) if job.python else None,
        pip_args=job.pip_args,
        log=log,
        timeout_s=job.timeout_s,
    ) as python:
        return candidates.command(
            job.cmd, candidate=candidate, cwd=None, log=log, timeout_s=job.timeout_s, python=python
        )
