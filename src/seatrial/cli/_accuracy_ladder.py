"""`seatrial accuracy run` and `import`: the rungs L0 to L5, asked here or by another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from seatrial.cli._accuracy_common import engine_options, kept_run, located_target, say, workspace_option
from seatrial.cli.common import FiniteRange, json_option, leave, out, print_json

if TYPE_CHECKING:
    from seatrial.core.step import StepResult
    from seatrial.workflow.accuracy import AccuracyEnded


@click.command()
@engine_options
@click.option("--level", type=click.Choice(["L0", "L1", "L2", "L3", "L4", "L5"]), default="L2", show_default=True)
@click.option("--url", help="Ask this running server instead of starting one.")
@click.option("--model", help="The model's name at --url; default: the folder's name.")
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size.")
@click.option("--dataset", type=click.Path(path_type=Path), help="JSON Lines with `question` and `answer` (L3 to L5).")
@click.option("--task", help="A task of --tool instead of --dataset (L3 to L5).")
@click.option("--task-path", type=click.Path(path_type=Path), help="Folder with the task's YAML and data.")
@click.option("--tool", type=click.Choice(["lm-eval", "evalscope"]), default="lm-eval", show_default=True)
@click.option("--tool-python", type=click.Path(path_type=Path), help="Interpreter of the environment with the tool.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N questions; L3 takes 8 if not given.")
@click.option("--fewshot", type=click.IntRange(min=0), help="Examples before the question (lm-eval).")
@click.option("--pattern", default="", help="Regular expression that takes the answer out (first group).")
@click.option("--max-tokens", default=256, show_default=True, type=click.IntRange(min=1))
@click.option("--temperature", default=0.0, show_default=True, type=FiniteRange(0, 2))
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 32), help="Ask every question N times.")
@click.option("--seed", type=int, help="Seed of sampling.")
@click.option("--chat/--no-chat", default=None, help="Use the chat template; default: if there is one.")
@click.option("--out", "output", type=click.Path(path_type=Path), help="Leave the five files in this new folder too.")
@json_option
def run(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    workspace: Path,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """One rung of the ladder L0 to L5 on CHECKPOINT: request and dataset settings, predictions, failed cases, score.

    Kept as a run of the workspace; `compare`, `check`, `seatrial deliver` and the loop take it from there.
    """
    from seatrial.core.record import from_plain, to_plain
    from seatrial.measure.accuracy.level import LevelJob, check_job, run_level

    given = {k: str(v) if isinstance(v, Path) else v for k, v in options.items() if v is not None}
    job = from_plain(LevelJob, {**given, "max_model_len": max_model_len}, where="accuracy run")
    check_job(job)
    located, python = located_target(target, checkpoint, needs_engine=not job.url)
    _is_new(output)
    dataset = options["dataset"]

    def work(run_id: str, folder: Path) -> tuple[StepResult, ...]:
        files = output if output is not None else folder / "files"
        return run_level(job, checkpoint, located.target, python or Path(), folder, files, run_id=run_id, say=say)

    ended = kept_run(
        "level",
        work,
        checkpoint=checkpoint,
        located=located,
        python=python,
        workspace=workspace,
        options=to_plain(job),
        keep=keep,
        inputs={"dataset": dataset} if dataset is not None else None,
        leaves=output,
    )
    _show(ended, output, as_json)


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tool", type=click.Choice(["lm-eval", "evalscope", "aisbench"]), required=True)
@click.option("--task", default="", help="The task's name (lm-eval, evalscope).")
@click.option("--level", type=click.Choice(["L3", "L4", "L5"]), required=True)
@click.option("--limit", type=click.IntRange(min=1), help="If only the first N questions were asked.")
@click.option("--model", required=True, help="The model's name.")
@click.option("--url", default="unknown", help="Where it was served.")
@click.option("--out", "output", type=click.Path(path_type=Path), help="Leave the five files in this new folder too.")
@workspace_option
@json_option
def import_(
    folder: Path,
    tool: str,
    task: str,
    level: Literal["L3", "L4", "L5"],
    limit: int | None,
    model: str,
    url: str,
    output: Path | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Read what an evaluation tool left in FOLDER into the five files, and keep it as a run."""
    from seatrial.core.errors import UsageError
    from seatrial.measure.accuracy.level import level_step
    from seatrial.measure.accuracy.outside import keep
    from seatrial.measure.accuracy.read_aisbench import read_aisbench
    from seatrial.measure.accuracy.read_evalscope import read_evalscope
    from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
    from seatrial.measure.accuracy.records import RequestConfig

    if tool == "evalscope" and not task:
        raise UsageError("evalscope keeps a report for each task", mend="Name the task with --task.")
    read = {"lm-eval": read_lm_eval, "evalscope": read_evalscope}
    found = read[tool](folder, task) if tool in read else read_aisbench(folder)
    _is_new(output)

    def work(run_id: str, scratch: Path) -> tuple[StepResult, ...]:
        files = output if output is not None else scratch / "files"
        request = RequestConfig(
            api_url=url,
            model=model,
            num_fewshot=found.num_fewshot,
            temperature=found.temperature,
            chat_template=found.chat,
        )
        keep(files, found, request=request, level=level, limit=limit, source=str(folder), run_id=run_id)
        return (level_step(files, server=url, version="unknown"),)

    ended = kept_run(
        "import",
        work,
        checkpoint=Path(model),
        located=None,
        python=None,
        workspace=workspace,
        options={"folder": folder, "tool": tool, "task": task, "level": level, "limit": limit, "url": url},
        leaves=output,
    )
    _show(ended, output, as_json)


def _is_new(output: Path | None) -> None:
    from seatrial.core.errors import UsageError
    from seatrial.measure.accuracy.run import FILES

    if output is not None and any((output / name).exists() for name in FILES):
        raise UsageError(f"{output} already holds an accuracy run", mend="Name a new folder with --out.")


def _show(ended: AccuracyEnded, output: Path | None, as_json: bool) -> None:
    from seatrial.core.record import to_plain

    score = ended.results[-1].facts.score
    if as_json:
        told = {"verdict": ended.verdict, "verdict_reason": ended.reason, "folder": ended.folder}
        print_json({**to_plain(score), **to_plain(told)})
        leave(ended.verdict)
    console = out()
    for s in score.scores:
        over = f"{s.n}" if s.answers is None else f"{s.answers} answers to {s.n} questions"
        console.print(f"{s.task} {s.metric}: {s.value:.4f} over {over} ({s.tool} {s.tool_version})", markup=False)
    lost = f"{score.num_not_extracted} not extracted, {score.num_no_answer} without an answer"
    console.print(f"{score.level}: {score.num_correct} of {score.num_total} correct, {lost}", markup=False)
    console.print(f"{score.status}: {score.reason}" if score.reason else score.status, markup=False)
    if ended.reason and ended.reason != score.reason:
        console.print(f"{ended.verdict.value}: {ended.reason}", markup=False)
    console.print(f"kept: {ended.folder}", markup=False)
    if output is not None:
        console.print(f"files: {output}", markup=False)
    leave(ended.verdict)
