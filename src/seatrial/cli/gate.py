"""Start a checkpoint with dummy or real weights, ask it, and say whether it truly serves."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from seatrial.cli._gate_inputs import Place, demand_checkpoint, demand_program, kept_in
from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict, combine

if TYPE_CHECKING:
    from seatrial.core.step import StepResult
    from seatrial.platforms import LaunchPlan


@click.command()
@click.argument("checkpoint", type=Place())
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--stage", type=click.Choice(["dummy", "real", "both"]), default="both", show_default=True)
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size instead of the target's.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Context length instead of the target's.")
@click.option("--image/--no-image", default=None, help="Ask with media too (image, video, audio); default by config.")
@click.option("--layers", type=click.IntRange(min=1), help="Cut the model for a quick look (dummy only).")
@click.option("--python", type=Place(), help="This interpreter instead of the target's.")
@click.option("--arg", "extra", multiple=True, help="A further argument for the server; repeatable, kept in order.")
@click.option("--out", "keep", type=Place(), help="Keep logs, requests and answers in this folder.")
@click.option("--ladder", is_flag=True, help="After a failure, try again with one change at a time to find the cause.")
@click.option("--plan-only", is_flag=True, help="Print the exact environment and command; start nothing.")
@json_option
def command(
    checkpoint: Path,
    target: str,
    stage: str,
    tp: int | None,
    max_model_len: int | None,
    image: bool | None,
    layers: int | None,
    python: Path | None,
    extra: tuple[str, ...],
    keep: Path | None,
    ladder: bool,
    plan_only: bool,
    as_json: bool,
) -> None:
    """Gate CHECKPOINT: it passes a stage only if the server answers real requests and lives on.

    Dummy weights show that the architecture runs; only real weights can be signed off. Nothing of the server is left
    afterwards. An argument for the server that starts with dashes is given as --arg=--enable-expert-parallel.
    """
    from seatrial.core.errors import EngineError, UsageError
    from seatrial.engine.choose import target_python
    from seatrial.gates import gate, gate_plan, takes_media
    from seatrial.gates.ladder_run import ladder as climb
    from seatrial.gates.plan import shrink
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    stages: list[Literal["dummy", "real"]] = ["dummy", "real"] if stage == "both" else [stage]  # type: ignore[list-item]
    if layers is not None and stage != "dummy":
        raise UsageError("a model cut to fewer layers has no real weights", mend="Use --layers with --stage dummy.")
    if plan_only:
        interpreter = python or Path(chosen.engine.interpreter or "python3")
        # A plan may be made for another machine: there the interpreter need not exist here.
        with contextlib.suppress(EngineError):
            interpreter = python or target_python(chosen)
        plans = [
            gate_plan(
                checkpoint,
                chosen,
                python=interpreter,
                stage=one,
                tp=tp,
                max_model_len=max_model_len,
                extra_args=(*extra, *(shrink(checkpoint, layers) if layers is not None else ())),
                check=False,
            )
            for one in stages
        ]
        _show_plans(plans, as_json)
        return
    demand_checkpoint(checkpoint)
    if python is not None:
        demand_program(python)
    interpreter = python or target_python(chosen)
    results: list[StepResult] = []
    multimodal = bool(takes_media(checkpoint)) if image is None else image
    folder = kept_in(keep, "gate")
    verdict = Verdict.INCONCLUSIVE
    try:
        for one in stages:
            with _progress(one) as say:
                result = gate(
                    checkpoint,
                    chosen,
                    python=interpreter,
                    stage=one,
                    scratch=folder,
                    tp=tp,
                    max_model_len=max_model_len,
                    multimodal=multimodal,
                    layers=layers,
                    extra_args=extra,
                    say=say,
                )
            results.append(result)
            if not as_json:
                _show(result)
            # A server whose sources are not proven serves all the same: the next stage is worth its start.
            if result.outcome.verdict is Verdict.FAIL:
                if ladder:
                    with _progress("ladder") as say:
                        results.append(
                            climb(
                                result,
                                checkpoint,
                                chosen,
                                python=interpreter,
                                stage=one,
                                scratch=folder,
                                tp=tp,
                                max_model_len=max_model_len,
                                multimodal=multimodal,
                                extra_args=extra,
                                say=say,
                            )
                        )
                    if not as_json:
                        _show_ladder(results[-1])
                break
        verdict = combine(r.outcome.verdict for r in results)
    finally:
        if keep is None and verdict is Verdict.PASS:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json({"verdict": verdict, "folder": str(folder) if folder.exists() else None, "results": results})
    elif folder.exists():
        out().print(f"logs, requests and answers: {folder}", style="dim")
    leave(verdict)


def _show_ladder(result: StepResult) -> None:
    from rich.markup import escape

    for step in result.facts.climbed:
        same = ", as before" if step.same_signature else ""
        out().print(f"      {step.rung.kind:<10} {escape(step.rung.change)}: {step.ending}{same}")
    out().print(f"      {escape(result.summary)}")


@contextlib.contextmanager
def _progress(stage: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal, a line per change elsewhere."""
    from rich.markup import escape

    console = err()
    began = time.monotonic()
    if not console.is_terminal:
        yield lambda text: console.print(f"{time.monotonic() - began:5.0f} s  {stage}: {text}", markup=False)
        return
    with console.status(f"{stage}: preparing") as status:
        yield lambda text: status.update(f"{stage}: {escape(text)}  [dim]at {time.monotonic() - began:.0f} s[/dim]")


def _show(result: StepResult) -> None:
    from rich.markup import escape

    console = out()
    style = STYLES[result.outcome.verdict]
    console.print(f"[{style}]{result.outcome.verdict.value}[/{style}]  {result.step}  {escape(result.summary)}")
    facts = result.facts
    for request in facts.requests:
        told = repr(request.text[:60]) if not request.trouble else request.trouble
        console.print(f"      {request.name:<7} {request.duration_s * 1000:7.0f} ms  {escape(told)}")
    for finding in result.findings:
        console.print(f"      {finding.severity.value} {escape(finding.one_line())}. {escape(finding.next_step)}")
    if result.outcome.verdict is not Verdict.PASS:
        console.print(f"      {escape(result.outcome.reason)}")
        if facts.first_error is not None:
            console.print(f"      log line {facts.first_error.line}: {escape(facts.first_error.text)}")
            if facts.first_error.category:
                told = f"{facts.first_error.category}: {facts.first_error.explanation} {facts.first_error.next_step}"
                console.print(f"      {escape(told)}")
        console.print("      by hand:", escape(result.commands[0].shell()), soft_wrap=True)


def _show_plans(plans: list[LaunchPlan], as_json: bool) -> None:
    if as_json:
        print_json(plans)
        return
    for plan in plans:
        click.echo(f"# {plan.command.purpose}\n{plan.command.shell()}")
        for deviation in plan.deviations:
            click.echo(f"#   {deviation.what}: {deviation.why} [{deviation.source}]")
        for note in plan.notes:
            click.echo(f"#   note: {note}")
