"""Keep what a trace says as a run that names the bench run it explains, so that a loop can cite it as evidence.

The run holds the report and which files it is of (size and hash; traces are too large to be copied). Its manifest is
the bench run's, with what was done here in place of the arguments.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from seatrial import __version__
from seatrial.core.errors import UsageError
from seatrial.core.record import Record, replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import inconclusive, passed
from seatrial.evidence import Run, Workspace
from seatrial.evidence.manifest import redact_arguments
from seatrial.evidence.records import now
from seatrial.measure.profile.records import ProfileReport
from seatrial.workflow.bench import bench_runs

STEP = "profile"


class ProfiledFile(Record):
    """A file that the report is of, as it was."""

    path: str
    bytes: int
    sha256: str


class KeptProfile(Record):
    """The facts of the step. `explains` is the bench run; its figures are those without a profiler."""

    explains: str
    files: tuple[ProfiledFile, ...]
    report: ProfileReport
    profiler_attached: bool = True
    schema_version: int = 1


def keep_profile(report: ProfileReport, *, explains: str, workspace: Workspace, argv: tuple[str, ...] = ()) -> str:
    """Store it; the new run's id. Raises UsageError if there is no such run, or it measured nothing."""
    began, started_at = time.monotonic(), now()
    bench = Run.read(workspace.run_folder(explains))
    if not bench_runs(bench):
        raise UsageError(
            f"{bench.run_id} is no run of `seatrial bench`, so there is nothing to explain",
            mend="Name one of `seatrial runs list` whose kind is bench.",
        )
    files = tuple(_file(Path(source)) for rank in report.ranks for source in rank.sources)
    name = workspace.new_run_id(f"profile-{Path(bench.manifest.checkpoint).name or 'service'}")
    manifest = replace(
        bench.manifest,
        run_id=name,
        created_at=started_at,
        seatrial_version=__version__,
        arguments_given=redact_arguments(argv),
        arguments={"kind": "profile", "explains": bench.run_id},
        inputs={f.path: f.sha256 for f in files},
    )
    steps = sum(rank.pipeline.steps for rank in report.ranks)
    events = sum(rank.events for rank in report.ranks)
    seen = any(rank.devices or rank.vendor for rank in report.ranks)
    outcome = passed() if seen else inconclusive("the trace holds nothing that could be analysed")
    kinds = sorted({device.bottleneck.kind for rank in report.ranks for device in rank.devices})
    result = StepResult(
        step=STEP,
        outcome=outcome,
        summary=f"ranks {len(report.ranks)}, {events:,} events, {steps} steps; {', '.join(kinds) or 'no bottleneck'}",
        facts=KeptProfile(explains=bench.run_id, files=files, report=report),
        findings=report.findings,
    )
    run = Run.create(workspace.runs_folder / name, manifest)
    try:
        run.store(result, inputs=bench.run_id, started_at=started_at, duration_s=time.monotonic() - began)
        body = {"verdict": outcome.verdict, "signed_off": False, "reason": outcome.reason, "kind": "profile"}
        run.append("finished", {**body, "run_id": name, "wall_s": round(time.monotonic() - began, 3)})
    finally:
        run.close()
    return name


def _file(path: Path) -> ProfiledFile:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return ProfiledFile(path=str(path.resolve()), bytes=path.stat().st_size, sha256=digest.hexdigest())
    except OSError as exc:
        raise UsageError(f"{path} cannot be read any more: {exc.strerror}", mend="Give the trace again.") from exc
