"""The main job: runs the steps in order and keeps what they found. The only module that does both.

In: a `Job`. Out: a `Finished`, and a run in the workspace. A step that is already recorded with the same inputs and
whole artifacts is not done again. After a failing step the later ones are recorded as not run, unless `keep_going`.
Raises what a user can mend (SeatrialError) before the run begins where it can; later, the run keeps the error.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from seatrial import __version__
from seatrial.checkpoint import Checkpoint, fingerprint, inspect, read_checkpoint
from seatrial.core.errors import SeatrialError, Stopped, UsageError
from seatrial.core.record import Record, from_plain, to_json, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, combine, inconclusive
from seatrial.dryrun import dry
from seatrial.engine.border import ProbeSession
from seatrial.engine.check import check_engine
from seatrial.engine.resolve import engine_python_of, installed_versions
from seatrial.evidence import Manifest, Run, StoredStep, Workspace
from seatrial.evidence.manifest import git_state, hardware, redact, redact_arguments, telling_environment
from seatrial.evidence.records import now
from seatrial.gates import gate
from seatrial.report import write_report
from seatrial.support import support
from seatrial.targets import Located, Target, load_target

Stage = Literal["dry", "dummy", "real"]
STAGES: tuple[Stage, ...] = ("dry", "dummy", "real")
ALWAYS = ("inspect", "engine", "support")


class Job(Record):
    """What to run. `max_model_len` None leaves the context length to the engine."""

    checkpoint: str
    target: str = "cpu"
    tp: int = 1
    max_model_len: int | None = None
    stages: tuple[Stage, ...] = STAGES
    keep_going: bool = False

    def __post_init__(self) -> None:
        if self.tp < 1:
            raise ValueError("tp must be at least 1")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ValueError("max_model_len must be at least 1")

    def steps(self) -> tuple[str, ...]:
        return (*ALWAYS, *(s for s in STAGES if s in self.stages))


class Finished(Record):
    """How a run ended. `overhead_s` is the wall time of this call less all time spent waiting for the engine."""

    run_id: str
    verdict: Verdict
    signed_off: bool
    reason: str
    wall_s: float
    engine_s: float
    overhead_s: float
    reused: tuple[str, ...]


class Observer(Protocol):
    """Who watches a run: the command line, or nobody."""

    def begun(self, run_id: str) -> None: ...
    def step_begun(self, step: str) -> None: ...
    def say(self, text: str) -> None: ...
    def step_ended(self, step: StoredStep, reused: bool) -> None: ...


class Ended(Record):
    """What `run_job` hands back: the result, the steps, and where the run and its report lie."""

    finished: Finished
    steps: dict[str, StoredStep]
    folder: str
    report: str


class _Context:
    """What the steps share during one call."""

    def __init__(self, job: Job, target: Target, session: ProbeSession, scratch: Path, observer: Observer) -> None:
        self.job = job
        self.folder = Path(job.checkpoint)
        self.target = target
        self.session = session
        self.scratch = scratch
        self.observer = observer
        self._checkpoint: Checkpoint | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """Read once, and only when a step needs it."""
        if self._checkpoint is None:
            self._checkpoint = read_checkpoint(self.folder)
        return self._checkpoint

    @property
    def is_multimodal(self) -> bool:
        return self.checkpoint.card.multimodal is not None

    @property
    def probe_s(self) -> float:
        return float(self.target.limits.probe_s.value or 600)


def run_job(
    job: Job | None,
    *,
    workspace: Workspace,
    overrides: Path | None,
    observer: Observer,
    argv: tuple[str, ...] = (),
    resume: str | None = None,
) -> Ended:
    """Do the main job, or go on with the run named `resume`, whose own job is then taken from its manifest."""
    began = time.monotonic()
    run = Run.resume(workspace.run_folder(resume)) if resume is not None else None
    try:
        if run is not None:
            job = from_plain(Job, run.manifest.arguments, where=f"manifest of {run.run_id}")
        if job is None:
            raise UsageError("nothing to run", mend="Name a checkpoint, or a run with --resume.")
        folder = Path(job.checkpoint)
        if not folder.is_dir():
            raise UsageError(f"the checkpoint {folder} is not a folder", mend="Name the folder that holds config.json.")
        located = load_target(job.target, overrides)
        python = engine_python_of(located.target)
        name = run.run_id if run else workspace.new_run_id(folder.resolve().name)
        scratch = workspace.scratch(name)
        with ProbeSession(python, log=scratch / "probe.log", env=located.target.launch.env) as session:
            versions = installed_versions(session)
            inputs = {"checkpoint": fingerprint(folder)}
            if run is None:
                manifest = _manifest(name, job, located, python, versions, inputs, argv)
                run = Run.create(workspace.runs_folder / name, manifest)
            common = {
                "seatrial": __version__,
                "inputs": inputs,
                "versions": versions,
                "target": to_plain(located.target),
            }
            if resume is not None:
                run.append("inputs", common)
            observer.begun(run.run_id)
            context = _Context(job, located.target, session, scratch, observer)
            return _all_steps(run, context, common, began)
    finally:
        if run is not None:
            run.close()


def _all_steps(run: Run, context: _Context, common: dict[str, Any], began: float) -> Ended:
    job = context.job
    kept = run.steps()
    done: dict[str, StoredStep] = {}
    reused: list[str] = []
    blocked_by = ""
    try:
        for step in job.steps():
            inputs = _hash({**common, "step": step, "tp": job.tp, "max_model_len": job.max_model_len})
            before = kept.get(step)
            is_reused = before is not None and before.inputs == inputs and not blocked_by and run.is_whole(before)
            if before is not None and is_reused:
                stored = before
                reused.append(step)
            elif blocked_by:
                # Its inputs are left open: once what blocks it is mended, the step is due.
                stored = run.store(_not_run(step, blocked_by), inputs="", started_at=now(), duration_s=0.0)
            else:
                context.observer.step_begun(step)
                started_at, start = now(), time.monotonic()
                result = STEPS[step](context)
                stored = run.store(result, inputs=inputs, started_at=started_at, duration_s=time.monotonic() - start)
            done[step] = stored
            context.observer.step_ended(stored, is_reused)
            if stored.outcome.verdict is Verdict.FAIL and not job.keep_going and not blocked_by:
                blocked_by = step
    except (Stopped, KeyboardInterrupt) as exc:
        run.append("interrupted", {"reason": str(exc) or "interrupted"})
        raise
    except SeatrialError as exc:
        run.append("error", {"reason": exc.one_line()})
        raise
    finished = _finish(run, job, done, tuple(reused), time.monotonic() - began)
    run.append("finished", finished)
    shutil.rmtree(context.scratch, ignore_errors=True)
    report = write_report(run)
    return Ended(finished=finished, steps=done, folder=str(run.folder), report=str(report))


def _inspect(context: _Context) -> StepResult:
    return inspect(context.folder)


def _engine(context: _Context) -> StepResult:
    return check_engine(context.session, context.target, timeout_s=context.probe_s, progress=context.observer.say)


def _support(context: _Context) -> StepResult:
    card = context.checkpoint.card
    return support(
        card.architecture.architectures,
        session=context.session,
        model_type=card.architecture.model_type or "",
        has_experts=card.feed_forward.moe is not None,
        is_multimodal=context.is_multimodal,
        remote_code=card.architecture.remote_code is not None,
        timeout_s=context.probe_s,
        progress=context.observer.say,
    )


def _dry(context: _Context) -> StepResult:
    return dry(
        context.folder,
        context.checkpoint.tensors,
        session=context.session,
        tp=context.job.tp,
        timeout_s=context.probe_s,
        progress=context.observer.say,
    )


def _gate(stage: Literal["dummy", "real"]) -> Callable[[_Context], StepResult]:
    def step(context: _Context) -> StepResult:
        # The probe's interpreter holds the engine in memory; the server needs that room.
        context.session.rest()
        return gate(
            context.folder,
            context.target,
            python=context.session.python,
            stage=stage,
            scratch=context.scratch,
            tp=context.job.tp,
            max_model_len=context.job.max_model_len,
            multimodal=context.is_multimodal,
            say=context.observer.say,
        )

    return step


STEPS: dict[str, Callable[[_Context], StepResult]] = {
    "inspect": _inspect,
    "engine": _engine,
    "support": _support,
    "dry": _dry,
    "dummy": _gate("dummy"),
    "real": _gate("real"),
}


def _not_run(step: str, blocked_by: str) -> StepResult:
    why = f"not run, because {blocked_by} failed (--keep-going runs it all the same)"
    return StepResult(step=step, outcome=inconclusive(why), summary=why, facts={})


def _finish(run: Run, job: Job, steps: dict[str, StoredStep], reused: tuple[str, ...], wall_s: float) -> Finished:
    verdict = combine(s.outcome.verdict for s in steps.values())
    real = steps.get("real")
    if verdict is not Verdict.PASS:
        worst = next(s for s in steps.values() if s.outcome.verdict is verdict)
        reason = f"{worst.step}: {worst.outcome.reason}"
    elif real is None:
        reason = "not signed off: the real gate was not asked for"
    else:
        reason = ""
    fresh = [s for s in steps.values() if s.step not in reused]
    engine_s = sum(span.duration_s for s in fresh for span in s.timeline if span.whose == "engine")
    return Finished(
        run_id=run.run_id,
        verdict=verdict,
        signed_off=verdict is Verdict.PASS and real is not None and real.outcome.verdict is Verdict.PASS,
        reason=reason,
        wall_s=round(wall_s, 3),
        engine_s=round(engine_s, 3),
        overhead_s=round(wall_s - engine_s, 3),
        reused=reused,
    )


def _manifest(
    name: str,
    job: Job,
    located: Located,
    python: Path,
    versions: dict[str, str],
    inputs: dict[str, str],
    argv: tuple[str, ...],
) -> Manifest:
    told, others = telling_environment(os.environ)
    roots = (Path.cwd(), *(Path(r) for r in (located.target.roots.vllm, located.target.roots.plugin) if r))
    target = to_plain(located.target)
    target["launch"]["env"] = {n: redact(n, v) for n, v in located.target.launch.env.items()}
    return Manifest(
        schema_version=1,
        run_id=name,
        created_at=now(),
        seatrial_version=__version__,
        arguments_given=redact_arguments(argv),
        arguments=to_plain(job),
        checkpoint=str(Path(job.checkpoint).resolve()),
        target=target,
        target_sources=located.sources,
        python=str(python),
        versions=versions,
        git=tuple(state for state in map(git_state, roots) if state is not None),
        hardware=hardware(),
        environment=told,
        environment_other_names=others,
        inputs=inputs,
    )


def _hash(value: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(value)).hexdigest()
