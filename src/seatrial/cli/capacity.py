"""Find the longest context and the most sequences a checkpoint really serves with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli._gate_inputs import Place, demand_checkpoint, kept_in
from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.targets import Target


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

    With --out, every trial is appended to trials.jsonl there, and a sweep that was killed goes on from it; sweep.json
    says of what, and a sweep of anything else is refused there.
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
    _demand_same_sweep(folder, book, _asked(checkpoint, chosen, python, stage, tp))
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
    if keep is None and result.outcome.verdict is Verdict.PASS:
        shutil.rmtree(folder, ignore_errors=True)
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
    if folder.exists():
        console.print(f"logs and trials: {folder}", markup=False)
    leave(result.outcome.verdict)


def _asked(checkpoint: Path, target: Target, python: Path, stage: str, tp: int | None) -> dict[str, str]:
    """What decides a trial beside its context and sequences. Time limits are left out: more time proves no less."""
    import hashlib

    from seatrial.checkpoint import fingerprint
    from seatrial.core.record import to_json, to_plain
    from seatrial.gates.plan import PLUGINS, installed_version
    from seatrial.platforms.base import tensor_parallel_of

    plain = {key: value for key, value in to_plain(target).items() if key != "limits"}
    return {
        "checkpoint": fingerprint(checkpoint),
        "target": f"{target.name} {hashlib.sha256(to_json(plain)).hexdigest()}",
        "engine": f"{python} {installed_version(python, 'vllm')}",
        "plugin": installed_version(python, PLUGINS.get(target.platform, "")),
        "stage": stage,
        "tp": str(tensor_parallel_of(tp, target.serve.args)),
    }


def _demand_same_sweep(folder: Path, book: Path, asked: dict[str, str]) -> None:
    """Raise UsageError if the trials in `folder` are of something else; else note there what they are of."""
    import json

    from seatrial.core.atomic import write_atomic
    from seatrial.core.record import to_json

    note = folder / "sweep.json"
    before: object = None
    if book.is_file() and book.stat().st_size:
        try:
            before = json.loads(note.read_bytes()) if note.is_file() else None
        except (OSError, ValueError, RecursionError):
            before = None
        known = before if isinstance(before, dict) else {}
        other = [key for key, value in asked.items() if known.get(key) != value]
        if other:
            raise UsageError(
                f"{folder} holds trials of another sweep (not the same: {', '.join(other)})",
                mend="Name another folder with --out, or delete its trials.jsonl.",
            )
    if before is None:
        write_atomic(note, to_json(asked, indent=2))
