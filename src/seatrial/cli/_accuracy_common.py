"""What the subcommands of `seatrial accuracy` share: options, the target, and a run that is kept in the workspace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.cli.common import err

if TYPE_CHECKING:
    from seatrial.core.step import StepResult
    from seatrial.measure.accuracy.run import AccuracyRun
    from seatrial.targets import Located
    from seatrial.workflow.accuracy import AccuracyEnded, What

F = TypeVar("F", bound=Callable[..., Any])

workspace_option = click.option(
    "--workspace", default=".", type=click.Path(path_type=Path), show_default=True, help="The folder of .seatrial."
)


def engine_options(function: F) -> F:
    """Checkpoint, target, length, where the run is kept and what else of it."""
    for option in (
        workspace_option,
        click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and slices in this folder too."),
        click.option("--max-model-len", type=click.IntRange(min=1), help="Context length instead of the target's."),
        click.option("--target", default="cpu", show_default=True, help="The target to run on."),
        click.argument("checkpoint", type=click.Path(path_type=Path)),
    ):
        function = option(function)
    return function


def say(text: str) -> None:
    err().print(text, markup=False)


def located_target(name: str, checkpoint: Path, *, needs_engine: bool = True) -> tuple[Located, Path | None]:
    """The target and its engine's interpreter (None where none is needed)."""
    from seatrial.core.errors import UsageError
    from seatrial.engine.choose import target_python
    from seatrial.targets import find_overrides, load_target

    if not (checkpoint / "config.json").is_file() and needs_engine:
        raise UsageError(f"{checkpoint} has no config.json", mend="Name a checkpoint's folder.")
    located = load_target(name, find_overrides(Path.cwd()))
    return located, target_python(located.target) if needs_engine else None


def kept_run(
    what: What,
    work: Callable[[str, Path], Sequence[StepResult]],
    *,
    checkpoint: Path,
    located: Located | None,
    python: Path | None,
    workspace: Path,
    options: dict[str, Any],
    keep: Path | None = None,
    inputs: dict[str, Path] | None = None,
    leaves: Path | None = None,
) -> AccuracyEnded:
    """Do `work` and keep it as a run of kind accuracy in the workspace."""
    from seatrial.core.errors import UsageError
    from seatrial.evidence import open_workspace
    from seatrial.workflow.accuracy import AccuracyJob, run_accuracy

    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            why = exc.strerror or exc
            raise UsageError(f"--keep {keep} cannot be made: {why}", mend="Name another folder.") from exc
    job = AccuracyJob(
        kind="accuracy",
        what=what,
        checkpoint=str(checkpoint),
        target=located.target.name if located is not None else "",
        options={k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
    )
    return run_accuracy(
        job,
        work,
        workspace=open_workspace(workspace, write=True),
        located=located,
        python=python,
        inputs=inputs,
        argv=tuple(sys.argv[1:]),
        keep=keep.absolute() if keep is not None else None,
        leaves=leaves,
        say=say,
    )


def rung(place: str, workspace: Path) -> AccuracyRun:
    """A folder with the five files, or a run of the workspace that holds a rung."""
    from seatrial.core.errors import UsageError
    from seatrial.evidence import Run, open_workspace
    from seatrial.measure.accuracy.run import read_run
    from seatrial.workflow.accuracy import read_kept

    if Path(place).is_dir():
        return read_run(Path(place))
    try:
        found = open_workspace(workspace, write=False).run_folder(place)
    except UsageError as exc:
        raise UsageError(
            f"{place} is not a folder of an accuracy run, and {exc.message}",
            mend="Name the --out folder of `seatrial accuracy run`, or its run (`seatrial runs list`).",
        ) from exc
    return read_kept(Run.read(found))
