"""`seatrial accuracy ab` and `bisect`: which setting, which commit or version breaks it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli._accuracy_common import engine_options, kept_run, located_target, say
from seatrial.cli._accuracy_show import ab_lines, cell_line, show
from seatrial.cli.common import json_option

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
@click.option("--good", required=True, help="A commit (or version) that is good.")
@click.option("--bad", required=True, help="A later one that is bad.")
@click.option("--cmd", required=True, help="Ends with 0 good, 1 bad, else: cannot say. {candidate} is replaced.")
@click.option("--repo", type=click.Path(path_type=Path), help="Bisect this git repository, in work trees of its own.")
@click.option("--versions", help="Bisect these instead, comma-separated, oldest first.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 15), help="Runs of each, by majority.")
@click.option("--timeout-s", default=3600.0, show_default=True, type=click.FloatRange(1), help="Limit of one run.")
@click.option("--log", type=click.Path(path_type=Path), help="Where the command's output goes.")
@json_option
def bisect(
    good: str,
    bad: str,
    cmd: str,
    repo: Path | None,
    versions: str | None,
    repeats: int,
    timeout_s: float,
    log: Path | None,
    as_json: bool,
) -> None:
    """Find the first bad commit or version; a service that does not start is never taken for bad."""
    from seatrial.core.errors import UsageError
    from seatrial.measure.accuracy import bisect as work

    if (repo is None) == (versions is None):
        raise UsageError("give either --repo or --versions", mend="--repo DIR for commits, --versions A,B,C.")
    with tempfile.TemporaryDirectory(prefix="seatrial-bisect-") as place:
        folder = Path(place)
        written = log or folder / "bisect.log"

        def once(candidate: str) -> int | None:
            if repo is None:
                return work.command(cmd, candidate=candidate, cwd=None, log=written, timeout_s=timeout_s)
            with work.checkout(repo, candidate, folder) as tree:
                return work.command(cmd, candidate=candidate, cwd=tree, log=written, timeout_s=timeout_s)

        candidates = work.commits(repo, good, bad) if repo is not None else _between(versions or "", good, bad)
        result = work.bisect(candidates, once, repeats=repeats, say=say)
    show(result, as_json, lambda facts: [f"{t.candidate}  {t.judgement}  {t.reason}" for t in facts.trials])


def _between(versions: str, good: str, bad: str) -> tuple[str, ...]:
    from seatrial.core.errors import UsageError

    known = [v.strip() for v in versions.split(",") if v.strip()]
    if good not in known or bad not in known or known.index(good) >= known.index(bad):
        raise UsageError("--good and --bad must be among --versions, in that order", mend="List them oldest first.")
    return tuple(known[known.index(good) : known.index(bad) + 1])
