"""Try every feature that applies to a checkpoint and say which are supported, with the evidence."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from seatrial.cli._gate_inputs import Place, demand_checkpoint, kept_in
from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict

TONES = {
    "supported": "green",
    "unsupported": "red",
    "checkpoint-missing": "yellow",
    "inconclusive": "yellow",
    "not-attempted": "dim",
    "not-applicable": "dim",
}


@click.command()
@click.argument("checkpoint", type=Place())
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--stage", type=click.Choice(["dummy", "real"]), default="real", show_default=True)
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size of the base run.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Context length instead of the target's.")
@click.option("--only", multiple=True, help="Only this feature; repeatable.")
@click.option("--require", multiple=True, help="Fail unless this feature is supported; repeatable.")
@click.option("--out", "keep", type=Place(), help="Keep logs and answers in this folder.")
@json_option
def command(
    checkpoint: Path,
    target: str,
    stage: str,
    tp: int | None,
    max_model_len: int | None,
    only: tuple[str, ...],
    require: tuple[str, ...],
    keep: Path | None,
    as_json: bool,
) -> None:
    """The feature matrix of CHECKPOINT on a target.

    Features that need a switch are each tried in a start of their own; a failing one does not touch the others.
    """
    from rich.markup import escape
    from rich.table import Table

    from seatrial.engine.choose import target_python
    from seatrial.gates.matrix import matrix
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    demand_checkpoint(checkpoint)
    python = target_python(chosen)
    folder = kept_in(keep, "features")
    verdict = Verdict.INCONCLUSIVE
    try:
        result = matrix(
            checkpoint,
            chosen,
            python=python,
            stage="dummy" if stage == "dummy" else "real",
            scratch=folder,
            tp=tp,
            max_model_len=max_model_len,
            only=only,
            required=require,
            say=lambda text: err().print(text, markup=False),
        )
        verdict = result.outcome.verdict
    finally:
        if keep is None and verdict is Verdict.PASS:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json(result)
        leave(verdict)
    console = out()
    table = Table("feature", "status", "evidence or reason", box=None)
    for row in result.facts.rows:
        said = row.reason or "; ".join(f"{p.where}: {p.says}" for p in row.proofs)
        table.add_row(row.title, f"[{TONES[row.status]}]{row.status}[/]", escape(said[:200]))
    console.print(table)
    console.print(f"{verdict.value}: {escape(result.outcome.reason or result.summary)}")
    if folder.exists():
        console.print(f"logs and answers: {folder}", markup=False)
    leave(verdict)
