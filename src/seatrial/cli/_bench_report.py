"""`bench report`, and what `bench compare` shares with it: kept sides and the reports' files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import json_option, leave, out, print_json

if TYPE_CHECKING:
    from seatrial.measure.compare import BenchRun
    from seatrial.measure.compare.report import Loaded


@click.command("report")
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="The folder of the reports.")
@click.option("--history", "historical", metavar="SOURCE", help="A is a historical baseline; say where it is from.")
@click.option(
    "--workspace", default=".", type=click.Path(path_type=Path), show_default=True, help="The folder of .seatrial."
)
@json_option
def report_command(runs: tuple[str, ...], folder: Path, historical: str | None, workspace: Path, as_json: bool) -> None:
    """Write the reports of kept comparisons (`bench ab`), one RUN a load: per load and master, English and Chinese."""
    from seatrial.core.errors import UsageError
    from seatrial.core.verdict import combine
    from seatrial.evidence import Run, open_workspace
    from seatrial.measure.compare.report import Loaded
    from seatrial.workflow.bench import bench_runs, judged_of

    place = open_workspace(workspace, write=False)
    loads = []
    for name in runs:
        run = Run.read(place.run_folder(name))
        judged, measured = judged_of(run), bench_runs(run)
        if judged is None:
            raise UsageError(f"{name} holds no comparison", mend="Name runs of `seatrial bench ab`.")
        a, b = (tuple(r for r in measured if r.setup.label == x) for x in (judged.label_a, judged.label_b))
        given = {judged.label_a: historical} if historical else {}
        loads.append(Loaded(judged=judged, a=a, b=b, historical=given))
    names = write_reports(loads, folder)
    verdict = combine(one.judged.outcome().verdict for one in loads)
    if as_json:
        print_json({"verdict": verdict, "files": [str(folder / n) for n in names]})
        leave(verdict)
    for one in names:
        out().print(str(folder / one), markup=False, soft_wrap=True)
    leave(verdict)


def write_reports(loads: Sequence[Loaded], folder: Path) -> list[str]:
    """Write them all; their names. Raises UsageError where the folder cannot be written."""
    from seatrial.core.atomic import write_atomic
    from seatrial.core.errors import UsageError
    from seatrial.measure.compare.files import report_files

    files = report_files(loads)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_atomic(folder / name, text.encode())
    except OSError as exc:
        raise UsageError(
            f"{folder} cannot be written: {exc.strerror or exc}", mend="Name another folder with --out."
        ) from exc
    return sorted(files)


def kept_side(name: str, workspace: Path) -> list[BenchRun]:
    """The measured runs of one side, `RUN` or `RUN:LABEL`."""
    from seatrial.core.errors import UsageError
    from seatrial.evidence import Run, open_workspace
    from seatrial.workflow.bench import bench_runs

    run_name, _, label = name.partition(":")
    run = Run.read(open_workspace(workspace, write=False).run_folder(run_name))
    runs = [r for r in bench_runs(run) if not label or r.setup.label == label]
    labels = {r.setup.label for r in runs}
    if not runs:
        raise UsageError(f"{name} holds no measured run", mend="Name a run of `seatrial bench`.")
    if len(labels) > 1:
        raise UsageError(
            f"{name} holds {len(labels)} sides",
            mend=f"Name one: {', '.join(f'{run_name}:{x}' for x in sorted(labels))}.",
        )
    return runs
