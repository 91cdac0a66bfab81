"""Write the report of a run again, an overview of all runs, or what differs between two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import err, json_option, out, print_json
from seatrial.core.errors import SeatrialError, UsageError

if TYPE_CHECKING:
    from seatrial.evidence import Workspace


@click.command()
@click.argument("run", required=False)
@click.option("--workspace", default=".", type=click.Path(), help="The folder that has .seatrial.", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Write every run's report and the overview of the workspace.")
@click.option("--compare", metavar="RUN", help="Say what differs between this run and the named one.")
@click.option("--serve", is_flag=True, help="Serve a live view on the loopback address until it is interrupted.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="With --serve: the port; 0 takes a free one.")
@json_option
def command(
    run: str | None, workspace: str, everything: bool, compare: str | None, serve: bool, port: int, as_json: bool
) -> None:
    """Write report.html and report.md of one RUN from its evidence: a name, a unique beginning of one, or `last`.

    With --all the reports of all runs and overview.html: filters, the feature matrix, any two runs side by side.
    """
    from seatrial.evidence import Run, open_workspace
    from seatrial.report import write_report
    from seatrial.report.workspace_page import write_overview

    if sum((everything, compare is not None, serve)) > 1:
        raise UsageError("--all, --compare and --serve are three things", mend="Ask for one of them.")
    if not serve and _was_given("port"):
        raise UsageError("--port is the live view's", mend="Add --serve, or leave out --port.")
    if serve and as_json:
        raise UsageError("--serve answers with pages, not with --json", mend="Leave out one of them.")
    place = open_workspace(Path(workspace), write=False)
    if serve:
        if run is not None:
            raise UsageError("--serve shows every run of the workspace", mend="Leave out RUN or --serve.")
        _serve(place, port)
        return
    if compare is not None:
        _compare(place.run_folder(run or "last"), place.run_folder(compare), as_json)
        return
    if everything:
        if run is not None:
            raise UsageError("--all writes the reports of every run", mend="Leave out RUN or --all.")
        folders = place.run_folders()
        if not folders:
            raise UsageError(f"there is no run in {place.root}", mend="See `seatrial runs list`.")
        written, left = [], []
        for folder in folders:
            try:
                written.append(write_report(Run.read(folder)))
            except SeatrialError as exc:
                # One run that cannot be read keeps no other from its page; the overview tells it as unreadable.
                left.append(exc.message)
                err().print(f"no report of {folder.name}: {exc.message}", markup=False)
        page = write_overview(place)
        if as_json:
            print_json({"overview": str(page), "reports": [str(w) for w in written], "left_out": left})
        else:
            out().print(str(page), markup=False)
        return
    found = Run.read(place.run_folder(run or "last"))
    path = write_report(found)
    if as_json:
        print_json({"run_id": found.run_id, "html": str(path), "markdown": str(path.with_suffix(".md"))})
    else:
        out().print(str(path), markup=False)


def _was_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _compare(left: Path, right: Path, as_json: bool) -> None:
    from rich.table import Table

    from seatrial.evidence import Run
    from seatrial.report.compare import differences, facets

    sides = [facets(Run.read(folder)) for folder in (left, right)]
    found = differences(*sides)
    if as_json:
        print_json({"left": sides[0].run_id, "right": sides[1].run_id, "differences": found})
        return
    console = out()
    if not found:
        console.print(f"no value differs between {sides[0].run_id} and {sides[1].run_id}", markup=False)
        return
    from rich.text import Text

    from seatrial.report.words import visible

    table = Table(title=f"{len(found)} values differ", title_justify="left")
    for heading in ("group", "value", sides[0].run_id, sides[1].run_id):
        table.add_column(Text(heading), overflow="fold")
    for one in found:
        # A Text goes to the terminal as it is: what one cannot see is made visible first.
        cells = (one.name, one.left or "not there", one.right or "not there")
        table.add_row(one.group, *(Text(visible(cell)) for cell in cells))
    console.print(table)


def _serve(place: Workspace, port: int) -> None:
    from seatrial.report.live import HOST, live

    server = live(place, port)
    err().print(f"http://{HOST}:{server.server_address[1]}/ (stop with Ctrl-C)", markup=False)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        err().print("stopped")
    finally:
        server.server_close()
