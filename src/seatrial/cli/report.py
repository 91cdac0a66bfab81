"""Write the report of a run again, and print where it is."""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli.common import json_option, out, print_json


@click.command()
@click.argument("run", default="last")
@click.option("--workspace", default=".", type=click.Path(), help="The folder that has .seatrial.", show_default=True)
@json_option
def command(run: str, workspace: str, as_json: bool) -> None:
    """Write report.html and report.md of one RUN from its evidence: a name, a unique beginning of one, or `last`."""
    from seatrial.evidence import Run, open_workspace
    from seatrial.report import write_report

    found = Run.read(open_workspace(Path(workspace), write=False).run_folder(run))
    path = write_report(found)
    if as_json:
        print_json({"run_id": found.run_id, "html": str(path), "markdown": str(path.with_suffix(".md"))})
    else:
        out().print(str(path), markup=False)
