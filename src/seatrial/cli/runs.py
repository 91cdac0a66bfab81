"""List, show and verify the runs of a workspace."""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli.common import STYLES, json_option, leave, out, print_json
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict, combine

workspace_option = click.option(
    "--workspace", default=".", type=click.Path(), help="The folder that has .seatrial.", show_default=True
)


@click.group()
def command() -> None:
    """The runs kept in a workspace."""


@command.command("list")
@workspace_option
@json_option
def list_(workspace: str, as_json: bool) -> None:
    """List all runs, oldest first."""
    from seatrial.evidence import list_runs, open_workspace

    if not Path(workspace).is_dir():
        raise UsageError(f"--workspace {workspace} is not a folder", mend="Name the folder that has .seatrial.")
    rows = list_runs(open_workspace(Path(workspace), write=False))
    if as_json:
        print_json(rows)
        return
    console = out()
    if not rows:
        console.print(f"no run in {Path(workspace).absolute()}; `seatrial run CHECKPOINT` makes one", markup=False)
    for row in rows:
        verdict = row.verdict or row.state
        sealed = " signed off" if row.signed_off else ""
        line = f"{row.run_id}  {verdict}{sealed}  {row.target}  {row.checkpoint}  {row.summary}".rstrip()
        console.print(line, markup=False)


@command.command()
@click.argument("run", default="last")
@workspace_option
@json_option
def show(run: str, workspace: str, as_json: bool) -> None:
    """Show one RUN: a name, a unique beginning of one, or `last`."""
    from seatrial.evidence import Run, open_workspace

    found = Run.read(open_workspace(Path(workspace), write=False).run_folder(run))
    steps = found.steps()
    if as_json:
        document = {"manifest": found.manifest, "steps": steps, "records": found.log.entries}
        print_json({**document, "problems": found.problems})
        return
    console = out()
    console.print(
        f"run {found.run_id}: {found.manifest.checkpoint} on {found.manifest.target.get('name')}", markup=False
    )
    for step in steps.values():
        verdict = step.outcome.verdict
        console.print(f"  [{STYLES[verdict]}]{verdict.value:<14}[/] {step.step:<8} ", end="")
        console.print(f"{step.duration_s:7.1f} s  {step.summary}", markup=False)
        for ref in (step.facts, *step.artifacts):
            console.print(f"      {ref.name}: {found.artifact(ref)}", markup=False)
    for problem in found.problems:
        console.print(f"  damaged: {problem}", markup=False)


@command.command()
@click.argument("names", nargs=-1, metavar="[RUN]...")
@workspace_option
@json_option
def verify(names: tuple[str, ...], workspace: str, as_json: bool) -> None:
    """Re-hash every file of the named runs (all, if none is named) and name what changed."""
    from rich.markup import escape

    from seatrial.evidence import open_workspace, verify_run

    place = open_workspace(Path(workspace), write=False)
    folders = [place.run_folder(n) for n in names] if names else place.run_folders()
    results = [verify_run(f) for f in folders]
    verdict = combine(r.verdict for r in results)
    if as_json:
        print_json({"verdict": verdict, "runs": results})
        leave(verdict)
    console = out()
    if not results:
        console.print(f"no run in {Path(workspace).absolute()}: nothing was verified", markup=False)
    for result in results:
        style = STYLES[result.verdict]
        console.print(
            f"[{style}]{result.verdict.value}[/]  {escape(result.run_id)}: {result.records} records, "
            f"{result.artifacts} artifacts, {result.bytes / 1e6:.1f} MB"
        )
        for finding in result.findings:
            console.print(f"    {finding.severity.value} {finding.one_line()}. {finding.next_step}", markup=False)
    leave(verdict if results else Verdict.INCONCLUSIVE)
