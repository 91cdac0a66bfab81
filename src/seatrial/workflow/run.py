"""Run the steps in order and keep what they found; go on with a run that was interrupted.

A step that is already recorded with the same inputs and whole artifacts is not done again. After a failing step the
later ones are recorded as not run, unless `keep_going`. Raises what a user can mend (SeatrialError) before the run
begins where it can; later, the run keeps the error.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

from seatrial import __version__
from seatrial.checkpoint import fingerprint
from seatrial.core.errors import SeatrialError, Stopped, UsageError
from seatrial.core.record import from_plain, replace, to_json, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, inconclusive, not_applicable
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.engine.versions import installed_versions
from seatrial.evidence import ADVICE, Run, StoredStep, Workspace, deciding, verdict_of
from seatrial.evidence.manifest import redact_target
from seatrial.evidence.records import now
from seatrial.report import write_report
from seatrial.targets import load_target
from seatrial.workflow.begin import manifest_of, root_states
from seatrial.workflow.book import Book
from seatrial.workflow.job import GATES, Ended, Finished, Job, Observer, ladder_name
from seatrial.workflow.leftovers import set_aside
from seatrial.workflow.plan import CHECK, evidence_of
from seatrial.workflow.steps import STEPS, Context, climb_from


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
    scratch: Path | None = None
    try:
        if run is not None:
            job = from_plain(Job, run.manifest.arguments, where=f"manifest of {run.run_id}")
        if job is None:
            raise UsageError("nothing to run", mend="Name a checkpoint, or a run with --resume.")
        folder = Path(job.checkpoint)
        if not _is_text(job.checkpoint):
            raise UsageError(f"the path {job.checkpoint!r} is not UTF-8, so no run can keep it", mend="Rename it.")
        if not _is_folder(folder):
            raise UsageError(f"the checkpoint {folder} is not a folder", mend="Name the folder that holds config.json.")
        located = load_target(job.target, overrides)
        python = target_python(located.target)
        name = run.run_id if run else workspace.new_run_id(folder.resolve().name)
        scratch = workspace.scratch(name)
        if run is not None:
            set_aside(run, scratch)
        with ProbeSession(python, log=scratch / "probe.log", env=located.target.launch.env) as session:
            versions = installed_versions(session)
            inputs = {"checkpoint": fingerprint(folder)}
            if run is None:
                manifest = manifest_of(name, job, located, python, versions, inputs, argv)
                run = Run.create(workspace.runs_folder / name, manifest)
            common = {
                "seatrial": __version__,
                "inputs": inputs,
                "versions": versions,
                "target": to_plain(located.target),
                # An editable plugin changes without its version changing.
                "roots": [to_plain(state) for state in root_states(located.target)],
            }
            if resume is not None:
                run.append("inputs", {**common, "target": redact_target(common["target"])})
            observer.begun(run.run_id)
            context = Context(job, located.target, session, scratch, observer)
            return _all_steps(run, context, common, began)
    finally:
        if run is not None:
            run.close()
        elif scratch is not None:
            # No run began: what its preparation wrote is nobody's evidence.
            shutil.rmtree(scratch, ignore_errors=True)


def _all_steps(run: Run, context: Context, common: dict[str, Any], began: float) -> Ended:
    job = context.job
    kept = run.steps()
    done: dict[str, StoredStep] = {}
    reused: list[str] = []
    blocked_by = ""
    try:
        for step in job.steps():
            rests = {"evidence": evidence_of(done)} if step == CHECK else {}
            inputs = _hash({**common, "step": step, **job.options(step), **rests})
            before = kept.get(step)
            # Only what proved something is kept: a failure may have had a cause that no input shows (a driver, a port).
            is_reused = (
                before is not None
                and before.outcome.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)
                and before.inputs == inputs
                and (not blocked_by or step == CHECK)
                and run.is_whole(before)
            )
            if before is not None and is_reused:
                stored = before
                reused.append(step)
            elif blocked_by and not (step == CHECK and blocked_by != "inspect"):
                # Its inputs are left open: once what blocks it is mended, the step is due.
                stored = run.store(_not_run(step, blocked_by), inputs="", started_at=now(), duration_s=0.0)
            else:
                context.observer.step_begun(step)
                context.book, context.run, context.done = Book(run, step, inputs), run, done
                started_at, start = now(), time.monotonic()
                result = STEPS[step](context)
                stored = run.store(result, inputs=inputs, started_at=started_at, duration_s=time.monotonic() - start)
            done[step] = stored
            context.observer.step_ended(stored, is_reused)
            if step in GATES and not is_reused and not blocked_by:
                _ladder(run, context, step, result, inputs, kept, done)
            fails = stored.outcome.verdict is Verdict.FAIL and step not in ADVICE
            if fails and not job.keep_going and not blocked_by:
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


def _ladder(
    run: Run,
    context: Context,
    gate: str,
    result: StepResult,
    inputs: str,
    kept: dict[str, StoredStep],
    done: dict[str, StoredStep],
) -> None:
    """After a gate that failed: look for what works. A ladder of an earlier attempt does not outlive its failure."""
    name = ladder_name(gate)
    if result.outcome.verdict is Verdict.FAIL and context.job.ladder:
        context.observer.step_begun(name)
        started_at, start = now(), time.monotonic()
        climbed = replace(climb_from(context, result), step=name)
        done[name] = run.store(climbed, inputs=inputs, started_at=started_at, duration_s=time.monotonic() - start)
        context.observer.step_ended(done[name], False)
    elif name in kept and kept[name].outcome.verdict is Verdict.FAIL:
        why = f"the {gate} gate does not fail any more; what the ladder found before is in the earlier record"
        again = StepResult(step=name, outcome=not_applicable(why), summary=why, facts={})
        run.store(again, inputs=inputs, started_at=now(), duration_s=0.0)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False


def _not_run(step: str, blocked_by: str) -> StepResult:
    why = f"not run, because {blocked_by} failed (--keep-going runs it all the same)"
    return StepResult(step=step, outcome=inconclusive(why), summary=why, facts={})


def _finish(run: Run, job: Job, steps: dict[str, StoredStep], reused: tuple[str, ...], wall_s: float) -> Finished:
    verdict = verdict_of(steps)
    real = steps.get("real")
    if verdict is not Verdict.PASS:
        worst = next(s for s in deciding(steps).values() if s.outcome.verdict is verdict)
        reason = f"{worst.step}: {worst.outcome.reason}"
    elif real is None:
        reason = "the real gate was not asked for"
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


def _hash(value: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(value)).hexdigest()
