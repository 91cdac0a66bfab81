"""Find the longest context and the most sequences a checkpoint really serves with."""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli._gate_inputs import Place, demand_checkpoint, kept_in
from seatrial.cli.common import err, json_option, leave, out, print_json


@click.command()
@click.argument("checkpoint", type=Place())
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--stage", type=click.Choice(["dummy", "real"]), default="real", show_default=True)
@click.option("--tp", type=click.IntRange(min=1), help="Tensor parallel size instead of the target's.")
@click.option("--context", type=click.IntRange(min=64), help="Baseline context; the target's or 131072 if left out.")
@click.option("--sequences", type=click.IntRange(min=1), help="Baseline sequences; the target's or 16 if left out.")
@click.option("--out", "keep", type=Place(), help="Keep logs and trials here; resumes from them.")
@json_option
def command(
    checkpoint: Path,
    target: str,
    stage: str,
    tp: int | None,
    context: int | None,
    sequences: int | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Sweep the capacity of CHECKPOINT: the baseline, then what serves if it does not, then more sequences.

    With --out, every trial is appended to trials.jsonl there, and a sweep that was killed goes on from it.
    """
    from rich.markup import escape
    from rich.table import Table

    from seatrial.core.errors import WorkspaceError
    from seatrial.core.record import from_json, to_json
    from seatrial.engine.choose import target_python
    from seatrial.gates.capacity import Trial, capacity
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    demand_checkpoint(checkpoint)
    python = target_python(chosen)
    folder = kept_in(keep, "capacity")
    book = folder / "trials.jsonl"
    lines = book.read_bytes().split(b"\n") if book.is_file() else []
    # A line without its end was cut by a kill; its trial is made again.
    done = [from_json(Trial, line, where=str(book)) for line in lines[:-1]]
    if lines and lines[-1]:
        book.write_bytes(b"".join(line + b"\n" for line in lines[:-1]))

    def write(trial: Trial, log: Path) -> None:
        try:
            with book.open("ab") as stream:
                stream.write(to_json(trial) + b"\n")
        except OSError as exc:
            mend = "Free some space there; the sweep goes on from its last whole trial."
            raise WorkspaceError(f"{book}: {exc.strerror or exc}", mend=mend) from exc

    result = capacity(
        checkpoint,
        chosen,
        python=python,
        stage="dummy" if stage == "dummy" else "real",
        scratch=folder,
        tp=tp,
        context=context,
        sequences=sequences,
        done=done,
        keep=write,
        say=lambda text: err().print(text, markup=False),
    )
    if as_json:
        print_json(result)
        leave(result.outcome.verdict)
    table = Table("context", "sequences", "served", "KV cache tokens", "cause", box=None)
    for trial in result.facts.trials:
        served = "yes" if trial.served else "no"
        held = f"{trial.kv_tokens:,}" if trial.kv_tokens is not None else "unknown"
        table.add_row(str(trial.context), str(trial.sequences), served, held, escape(trial.cause[:120]))
    console = out()
    console.print(table)
    console.print(f"{result.outcome.verdict.value}: {result.summary}", markup=False)
    if not result.facts.baseline_served:
        console.print(f"root cause: {result.facts.root_cause}", markup=False)
    console.print(f"logs and trials: {folder}", markup=False)
    leave(result.outcome.verdict)
