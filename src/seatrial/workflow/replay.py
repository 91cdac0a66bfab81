"""Replay: do a kept run again from its manifest, and compare.

In: a kept run. Out: what cannot be the same here (versions, hardware, inputs, seatrial itself), the commands, and after
a new run the comparison of old and new: of a bench side by side, of other runs step by step (`replay_command.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from seatrial import __version__
from seatrial.core.command import Command
from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import Record, from_plain, replace, to_json
from seatrial.core.secrets import REDACTED
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.engine.versions import installed_versions
from seatrial.evidence import Run, Workspace
from seatrial.evidence.manifest import hardware
from seatrial.measure.compare import BenchRun, Judged, judge
from seatrial.measure.load.facts import checkpoint_facts, program_fact
from seatrial.targets import load_target
from seatrial.workflow.bench import BenchEnded, BenchJob, bench_runs, commands_of, run_bench
from seatrial.workflow.replay_command import Redone, command_of, kind_of, redo

# Packages whose version can change a figure; the rest is counted.
TELLING = ("vllm", "torch", "transformers", "vllm-ascend", "vllm-kunlun", "torch-npu", "triton", "flashinfer", "numpy")


class Drift(Record):
    """Something that is not as it was. `grave`: the figures cannot be expected to be the same."""

    what: str
    then: str
    now: str
    grave: bool


class ReplayPlan(Record):
    """What would be done again, and what cannot be reproduced. `job` None: no bench, its own command is given again."""

    run_id: str
    job: BenchJob | None
    commands: tuple[Command, ...]
    drifts: tuple[Drift, ...]


class Replayed(Record):
    """The new run, and by side the comparison of then (A) with now (B); `redone` of a run that is no bench."""

    plan: ReplayPlan
    ended: BenchEnded | None
    sides: dict[str, Judged]
    agreement: Literal["agrees", "differs", "unknown"]
    reason: str
    redone: Redone | None = None


def plan_replay(workspace: Workspace, name: str, overrides: Path | None) -> ReplayPlan:
    """Read the manifest, look at this machine, name the differences."""
    run = Run.read(workspace.run_folder(name))
    job = None
    commands = commands_of(run)
    if kind_of(run) == "bench":
        job = from_plain(BenchJob, run.manifest.arguments, where=f"manifest of {run.run_id}")
    else:
        commands.insert(0, command_of(run))
    return ReplayPlan(
        run_id=run.run_id,
        job=job,
        commands=tuple(commands),
        drifts=tuple(_drifts(run, job, overrides, workspace)),
    )


def replay(
    workspace: Workspace,
    name: str,
    overrides: Path | None,
    *,
    argv: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Replayed:
    """Run it again and compare each side with what it was."""
    plan = plan_replay(workspace, name, overrides)
    if plan.job is None:
        done = redo(workspace, Run.read(workspace.run_folder(name)), say)
        return Replayed(plan=plan, ended=None, sides={}, agreement=done.agreement, reason=done.reason, redone=done)
    if REDACTED in to_json(plan.job).decode():
        raise UsageError(
            f"run {plan.run_id} was given a secret, which is not kept", mend="Give the same `seatrial bench` again."
        )
    old = bench_runs(Run.read(workspace.run_folder(name)))
    ended = run_bench(plan.job, workspace=workspace, overrides=overrides, argv=argv, say=say)
    sides: dict[str, Judged] = {}
    for side in plan.job.sides:
        then = [_as(r, f"{side.label} then") for r in old if r.setup.label == side.label]
        now = [_as(r, f"{side.label} now") for r in ended.runs if r.setup.label == side.label]
        if then and now:
            sides[side.label] = judge(then, now, under_test=(), judged_by=plan.job.judged_by)
    agreement, reason = _agreement(sides, [s.label for s in plan.job.sides])
    return Replayed(plan=plan, ended=ended, sides=sides, agreement=agreement, reason=reason)


def _as(run: BenchRun, label: str) -> BenchRun:
    return replace(run, setup=replace(run.setup, label=label))


def _agreement(sides: dict[str, Judged], labels: Sequence[str]) -> tuple[Literal["agrees", "differs", "unknown"], str]:
    """One side that differs is a difference; without one, every side must have been compared."""
    unknown = [f"{label}: there is nothing to compare with" for label in labels if label not in sides]
    for label, judged in sides.items():
        found = judged.figures.get(judged.judged_by)
        if found is None or found.p is None:
            unknown.append(f"{label}: {judged.reason}")
        elif found.p < 0.05:
            return "differs", f"{label}: {judged.judged_by} {found.change:+.1%} (p = {found.p:.3f})"
    return ("unknown", "; ".join(unknown)) if unknown else ("agrees", "no side differs beyond the noise")


def _drifts(run: Run, job: BenchJob | None, overrides: Path | None, workspace: Workspace) -> list[Drift]:
    manifest = run.manifest
    found = []
    if manifest.seatrial_version != __version__:
        found.append(Drift(what="seatrial", then=manifest.seatrial_version, now=__version__, grave=False))
    here = hardware()
    for name in ("cpu", "cores", "memory_bytes", "machine", "system"):
        then, now = str(manifest.hardware.get(name)), str(here.get(name))
        if then != now:
            found.append(Drift(what=f"hardware {name}", then=then, now=now, grave=name in ("cpu", "cores", "machine")))
    checkpoint = job.checkpoint if job is not None else manifest.checkpoint
    if checkpoint:
        folder = Path(checkpoint)
        facts = dict(checkpoint_facts(folder)) if folder.is_dir() else {}
        facts["program"] = program_fact(Path(job.program)) if job is not None and job.program else None
        if job is None and not folder.is_dir() and "://" not in checkpoint:
            found.append(Drift(what="checkpoint", then=checkpoint, now="not there", grave=True))
        for name, then in manifest.inputs.items():
            if name not in ("model", "tokenizer", "program"):
                # Hashes that another kind of run made in its own way.
                continue
            now = str(facts.get(name) or "not there")
            if now != then:
                found.append(Drift(what=name, then=then[:16], now=now[:16], grave=True))
    if manifest.versions:
        found.extend(_version_drifts(manifest.versions, job, manifest.python, overrides, workspace))
    if job is not None and any(s.service for s in job.sides):
        found.append(Drift(what="service", then=job.sides[0].service, now="whatever answers there now", grave=True))
    return found


def _version_drifts(
    then: dict[str, str], job: BenchJob | None, python: str, overrides: Path | None, workspace: Workspace
) -> list[Drift]:
    """`python`: the interpreter the manifest names, for a run whose target is not told in one place."""
    try:
        target = load_target(job.target if job is not None else "cpu", overrides).target
        interpreter = target_python(target) if job is not None else Path(python)
        log = workspace.scratch("replay") / "probe.log"
        env = target.launch.env if job is not None else {}
        with ProbeSession(interpreter, log=log, env=env) as session:
            now = installed_versions(session)
    except (EngineError, UsageError) as exc:
        return [Drift(what="engine", then=then.get("vllm", "installed"), now=exc.message, grave=True)]
    found = [
        Drift(what=name, then=then.get(name, "not installed"), now=now.get(name, "not installed"), grave=True)
        for name in TELLING
        if then.get(name) != now.get(name)
    ]
    others = sorted(n for n in {*then, *now} - set(TELLING) if then.get(n) != now.get(n))
    if others:
        text = ", ".join(others[:5])
        found.append(Drift(what="other packages", then=f"{len(others)} differ", now=text, grave=False))
    return found
