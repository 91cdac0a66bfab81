"""Send thousands of short mixed requests and watch errors and memory; compare greedy answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from seatrial.cli._gate_inputs import Place, demand_checkpoint, kept_in
from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict, combine


@click.command()
@click.argument("checkpoint", type=Place())
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--stage", type=click.Choice(["dummy", "real"]), default="real", show_default=True)
@click.option("--requests", default=2000, show_default=True, type=click.IntRange(min=0), help="0: no soak.")
@click.option("--at-once", default=4, show_default=True, type=click.IntRange(min=1), help="Requests in flight.")
@click.option("--agree", is_flag=True, help="Compare greedy answers: batch 1 and n, and TP 1 with --tp.")
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size instead of the target's.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Context length instead of the target's.")
@click.option(
    "--out", "keep", type=Place(), help="Keep logs in this folder; without it, only those of a soak that did not pass."
)
@json_option
def command(
    checkpoint: Path,
    target: str,
    stage: str,
    requests: int,
    at_once: int,
    agree: bool,
    tp: int | None,
    max_model_len: int | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Soak CHECKPOINT's server: does it answer the two-thousandth request as it did the first?"""
    from rich.markup import escape

    from seatrial.core.errors import UsageError
    from seatrial.engine.choose import target_python
    from seatrial.gates.agreement import agreement
    from seatrial.gates.soak import soak
    from seatrial.targets import find_overrides, load_target

    if not (requests or agree):
        raise UsageError("nothing to do: no requests and no comparison", mend="Use --requests N or --agree.")
    chosen = load_target(target, find_overrides(Path.cwd())).target
    demand_checkpoint(checkpoint)
    python = target_python(chosen)
    folder = kept_in(keep, "soak")

    def say(text: str) -> None:
        err().print(text, markup=False)

    results = []
    verdict = Verdict.INCONCLUSIVE
    try:
        if requests:
            results.append(
                soak(
                    checkpoint,
                    chosen,
                    python=python,
                    stage="dummy" if stage == "dummy" else "real",
                    scratch=folder / "soak",
                    requests=requests,
                    at_once=at_once,
                    tp=tp,
                    max_model_len=max_model_len,
                    say=say,
                )
            )
        if agree:
            results.append(
                agreement(
                    checkpoint,
                    chosen,
                    python=python,
                    stage="dummy" if stage == "dummy" else "real",
                    scratch=folder / "agree",
                    tp=tp,
                    max_model_len=max_model_len,
                    say=say,
                )
            )
        verdict = combine(r.outcome.verdict for r in results)
    finally:
        if keep is None and verdict is Verdict.PASS:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json({"verdict": verdict, "folder": str(folder) if folder.exists() else None, "results": results})
        leave(verdict)
    console = out()
    for result in results:
        style = STYLES[result.outcome.verdict]
        console.print(f"[{style}]{result.outcome.verdict.value}[/{style}]  {result.step}  {escape(result.summary)}")
        if result.outcome.reason:
            console.print(f"      {escape(result.outcome.reason)}")
    if folder.exists():
        console.print(f"logs: {folder}", markup=False)
    leave(verdict)
