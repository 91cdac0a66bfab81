"""`seatrial accuracy ab` and `bisect`: which setting, which commit or version breaks it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli._accuracy_common import engine_options, kept_run, located_target, say, workspace_option
from seatrial.cli._accuracy_show import ab_lines, cell_line, show
from seatrial.cli.common import FiniteRange, json_option

if TYPE_CHECKING:
    from seatrial.core.step import StepResult


@click.command()
@engine_options
@click.option("--only", multiple=True, help="Only this variant; repeatable.")
@click.option("--arg", "args", multiple=True, help="A further argument for every server; repeatable, kept in order.")
@json_option
def ab(
    checkpoint: Path,
    target: str,
    max_model_len: int | None,
    keep: Path | None,
    workspace: Path,
    only: tuple[str, ...],
    args: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change one setting at a time (batch, graph, chunks, prefix cache, TP, KV dtype, MTP) and compare answers."""
    from seatrial.measure.accuracy.ab import matrix
    from seatrial.measure.accuracy.ab_variants import chosen_variants

    chosen_variants(only)
    located, python = located_target(target, checkpoint)

    def work(_: str, folder: Path) -> tuple[StepResult, ...]:
        return (
            matrix(
                checkpoint,
                located.target,
                python=python or Path(),
                scratch=folder,
                only=only,
                max_model_len=max_model_len,
                args=args,
                seen=lambda cell: say(cell_line(cell)),
                say=say,
            ),
        )

    ended = kept_run(
        "ab",
        work,
        checkpoint=checkpoint,
        located=located,
        python=python,
        workspace=workspace,
        options={"only": list(only), "args": list(args), "max_model_len": max_model_len},
        keep=keep,
    )
    show(ended.results[-1], as_json, ab_lines, ended)


@click.command()
@click.option("--good", help="A commit (or version) that is good.")
@click.option("--bad", help="A later one that is bad.")
@click.option("--cmd", help="Ends with 0 good, 1 bad, else: cannot say. {candidate} and {python} are replaced.")
@click.option("--repo", type=click.Path(path_type=Path), help="Bisect this git repository, in work trees of its own.")
@click.option("--versions", help="Bisect these instead, comma-separated, oldest first.")
@click.option("--package", help="Install each version of this into an environment of its own; {python} runs it.")
@click.option("--python", type=click.Path(path_type=Path), help="Makes the environments; default: seatrial's own.")
@click.option("--pip-arg", "pip_args", multiple=True, help="For pip install (an index, more packages); repeatable.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 15), help="Runs of each, by majority.")
@click.option("--timeout-s", default=3600.0, show_default=True, type=FiniteRange(1), help="Limit of one run.")
@click.option("--resume", help="Go on with this bisect run: what it tried is not tried again.")
@workspace_option
@json_option
def bisect(
    versions: str | None,
    repo: Path | None,
    python: Path | None,
    resume: str | None,
    workspace: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the first bad commit or version; a service that does not start is never taken for bad.

    Kept as a run. One that was stopped is gone on with by --resume, which takes everything else from it.
    """
    from seatrial.core.errors import UsageError
    from seatrial.evidence import open_workspace
    from seatrial.workflow.accuracy_bisect import BisectJob, check_bisect, earlier, run_bisect

    said: dict[str, Any] = {k: v for k, v in options.items() if v not in (None, ())}
    if resume is not None:
        more = [k for k in ("good", "bad", "cmd", "package") if k in said] + [k for k in (repo, versions, python) if k]
        if more:
            raise UsageError("--resume takes the question from the run", mend="Leave out everything but --workspace.")
        name, job, known = earlier(open_workspace(workspace, write=False), resume)
    else:
        missing = [f"--{k}" for k in ("good", "bad", "cmd") if k not in said]
        if missing:
            raise UsageError(f"{', '.join(missing)} must be given", mend="Or --resume RUN.")
        words = tuple(v.strip() for v in (versions or "").split(",") if v.strip())
        places = {"repo": str(repo.absolute()) if repo else "", "python": str(python.absolute()) if python else ""}
        job, known, name = BisectJob(**{**said, **places, "versions": words}), (), ""
    check_bisect(job)
    ended = run_bisect(
        job,
        workspace=open_workspace(workspace, write=True),
        known=known,
        resumes=name,
        argv=tuple(sys.argv[1:]),
        say=say,
    )
    show(ended.results[-1], as_json, bisect_lines, ended)


def bisect_lines(facts: Any) -> list[str]:
    lines = [f"{t.candidate}  {t.judgement}  {t.reason}{'  (before)' if t.earlier else ''}" for t in facts.trials]
    left = facts.candidates - len(facts.trials)
    return [*lines, f"{len(facts.trials)} of {facts.candidates} candidates tried, {left} followed from them"]
