"""Take a checkpoint through inspect, support, dry run and the gates, and keep the proof."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json
from seatrial.core.errors import UsageError
from seatrial.core.finding import Severity
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from seatrial.evidence import StoredStep
    from seatrial.workflow import Ended, Stage


@click.command()
@click.argument("checkpoint", required=False, type=click.Path())
@click.option("--target", default="cpu", show_default=True, help="What to run on; see `seatrial targets list`.")
@click.option("--tp", type=click.IntRange(1), help="Tensor-parallel size; the target's, else 1, if left out.")
@click.option("--max-model-len", type=click.IntRange(1), help="Context length in tokens; the target's or the model's.")
@click.option("--stages", default="dry,dummy,real", show_default=True, help="Which of dry, dummy and real to run.")
@click.option("--features", is_flag=True, help="Then try every feature: the feature matrix.")
@click.option("--agree", is_flag=True, help="Then compare greedy answers: batch 1 and n, eager and graph, TP 1 and n.")
@click.option("--soak", default=0, type=click.IntRange(0), metavar="N", help="Then send N short mixed requests.")
@click.option("--capacity", is_flag=True, help="Then find the longest context and the most sequences that serve.")
@click.option("--context", type=click.IntRange(64), help="Baseline context of --capacity; the target's or 131072.")
@click.option("--sequences", type=click.IntRange(1), help="Baseline sequences of --capacity; the target's or 16.")
@click.option("--no-ladder", is_flag=True, help="Do not look for what works after a gate has failed.")
@click.option("--keep-going", is_flag=True, help="Run the later steps even after one has failed.")
@click.option("--resume", metavar="RUN", help="Go on with a run: a name, a unique beginning of one, or `last`.")
@click.option("--workspace", default=".", type=click.Path(), help="The folder that has (or gets) .seatrial.")
@json_option
def command(
    checkpoint: str | None,
    target: str,
    tp: int | None,
    max_model_len: int | None,
    stages: str,
    features: bool,
    agree: bool,
    soak: int,
    capacity: bool,
    context: int | None,
    sequences: int | None,
    no_ladder: bool,
    keep_going: bool,
    resume: str | None,
    workspace: str,
    as_json: bool,
) -> None:
    """Take CHECKPOINT (a local folder) to a proven verdict on a target.

    Steps: inspect, plan (an estimate, which stops nothing and decides nothing), engine, support, dry (the engine's own
    loader, no weights), dummy (served with random weights), real (served with the checkpoint's weights), plan-check
    (the plan against what the engine said). Without a passed real step a run is never signed off. A gate that
    fails is followed by the fallback ladder. Features, agreement, soak and capacity run if they are asked for, with
    the real weights unless --stages leaves only the dummy gate.
    """
    from seatrial.evidence import open_workspace
    from seatrial.platforms.base import tensor_parallel_of
    from seatrial.targets import find_overrides, load_target
    from seatrial.workflow import Job, run_job

    overrides = find_overrides(Path.cwd())

    job = None
    if not capacity and not (context is None and sequences is None):
        raise UsageError("--context and --sequences belong to the capacity sweep", mend="Add --capacity.")
    if resume is None:
        if checkpoint is None:
            raise UsageError("no checkpoint is named", mend="Usage: seatrial run CHECKPOINT --target cpu.")
        # Absolute, so that the run can be resumed from anywhere.
        place = str(Path(checkpoint).absolute())
        job = Job(
            checkpoint=place,
            target=target,
            tp=tensor_parallel_of(tp, load_target(target, overrides).target.serve.args),
            max_model_len=max_model_len,
            stages=_stages(stages),
            keep_going=keep_going,
            ladder=not no_ladder,
            features=features,
            agree=agree,
            soak=soak,
            capacity=capacity,
            context=context,
            sequences=sequences,
        )
    elif checkpoint is not None:
        raise UsageError("--resume takes its checkpoint from the run", mend="Leave out CHECKPOINT or --resume.")
    else:
        _refuse_given(*JOB)
    watcher = Watcher(err())
    try:
        ended = run_job(
            job,
            workspace=open_workspace(Path(workspace), write=True),
            overrides=overrides,
            observer=watcher,
            argv=tuple(sys.argv[1:]),
            resume=resume,
        )
    except BaseException:
        watcher.stop()
        if watcher.run_id:
            click.echo(f"what was done is kept; go on with: seatrial run --resume {watcher.run_id}", err=True)
        raise
    if as_json:
        print_json(ended)
    else:
        show(out(), ended)
    leave(ended.finished.verdict)


# The parameters that make a job; a resumed run has its own.
JOB = (
    "target", "tp", "max_model_len", "stages", "features", "agree", "soak", "capacity", "context", "sequences",
    "no_ladder", "keep_going",
)  # fmt: skip


def _refuse_given(*names: str) -> None:
    """What a resumed run would ignore is refused: its job stands in its manifest."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"--resume takes {flag} from the run", mend=f"Leave out {flag}, or begin a new run.")


def _stages(text: str) -> tuple[Stage, ...]:
    from seatrial.workflow import STAGES

    names = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [n for n in names if n not in STAGES]
    if wrong:
        raise UsageError(f"--stages: unknown stage {wrong[0]!r}", mend=f"Allowed: {', '.join(STAGES)}.")
    if not names:
        raise UsageError("--stages: no stage is named", mend=f"Allowed: {', '.join(STAGES)}.")
    return tuple(n for n in STAGES if n in names)


class Watcher:
    """Shows what is going on: a spinner with the newest news on a terminal, a plain line a step elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.run_id = ""
        self._status: Status | None = None
        self._step = ""
        self._began = 0.0

    def begun(self, run_id: str) -> None:
        self.run_id = run_id
        self.console.print(f"run {run_id}")

    def step_begun(self, step: str) -> None:
        self._step, self._began = step, time.monotonic()
        if self.console.is_terminal:
            self._status = self.console.status(step)
            self._status.start()

    def say(self, text: str) -> None:
        if self._status is not None:
            self._status.update(f"{self._step}: {_plain(text)}  [dim]{time.monotonic() - self._began:.0f} s[/dim]")

    def step_ended(self, step: StoredStep, reused: bool) -> None:
        self.stop()
        took = "kept from before" if reused else f"{step.duration_s:.1f} s"
        verdict = step.outcome.verdict
        self.console.print(f"  {step.step:<12} [{STYLES[verdict]}]{verdict.value:<14}[/] {took:>9}")

    def stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def show(console: Console, ended: Ended) -> None:
    """The verdict table, then what is wrong, how to do it by hand, and where the evidence lies."""
    from rich.table import Table

    finished = ended.finished
    table = Table(title=f"run {finished.run_id}", title_justify="left")
    for heading in ("step", "verdict", "time", "what was seen"):
        table.add_column(heading, overflow="fold")
    for step in ended.steps.values():
        verdict = step.outcome.verdict
        took = "kept" if step.step in finished.reused else f"{step.duration_s:.1f} s"
        table.add_row(step.step, f"[{STYLES[verdict]}]{verdict.value}[/]", took, _plain(step.summary))
    console.print(table)
    for step in ended.steps.values():
        _show_trouble(console, step)
    seal = "signed off" if finished.signed_off else "not signed off"
    style = STYLES[finished.verdict]
    # The reason of a failing step stands above, in full.
    why = finished.reason if finished.verdict is Verdict.PASS else f"see {finished.reason.partition(':')[0]} above"
    console.print(f"\nverdict: [{style}]{finished.verdict.value}[/], {seal}{f' ({_plain(why)})' if why else ''}")
    console.print(
        f"time: {finished.wall_s:.1f} s, of which the engine {finished.engine_s:.1f} s, seatrial itself "
        f"{finished.overhead_s:.1f} s"
    )
    console.print(f"evidence: {_from_here(ended.folder)}", markup=False)
    console.print(f"report:   {_from_here(ended.report)}", markup=False)


def _show_trouble(console: Console, step: StoredStep) -> None:
    if step.outcome.verdict not in (Verdict.FAIL, Verdict.INCONCLUSIVE) or not step.inputs:
        return
    shown = [f for f in step.findings if f.severity is not Severity.INFO]
    said = shown and shown[0].message in step.outcome.reason
    console.print(f"\n[bold]{step.step}[/]: {step.outcome.verdict.value if said else _plain(step.outcome.reason)}")
    for finding in shown[:10]:
        console.print(f"  {finding.one_line()}", markup=False)
        if finding.next_step:
            console.print(f"      next: {finding.next_step}", markup=False)
    if len(shown) > 10:
        console.print(f"  … and {len(shown) - 10} more, all in the report")
    for command in step.commands[:2]:
        console.print(f"  {command.purpose}:\n    {command.shell()}", markup=False)


def _from_here(path: str) -> str:
    """The path relative to the current folder if it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
