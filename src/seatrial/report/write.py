"""Writes `report.html` and `report.md` into a run's folder. Outputs only: nothing is ever read back from them."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.atomic import write_atomic
from seatrial.evidence import Run
from seatrial.evidence.workspace import explained
from seatrial.report.compose import compose
from seatrial.report.gather import gather

HTML = "report.html"
MARKDOWN = "report.md"


def write_report(run: Run) -> Path:
    """Write both files atomically from the run's manifest, records and artifacts; returns the HTML's path.

    Works on any run that can be read, finished or not; missing or changed evidence is said in the report. Raises
    WorkspaceError if the folder cannot be written.
    """
    from seatrial.report.html import html_of
    from seatrial.report.markdown import markdown_of

    document = compose(gather(run))
    place = run.folder / HTML
    with explained(run.folder):
        write_atomic(run.folder / MARKDOWN, markdown_of(document).encode("utf-8", errors="backslashreplace"))
        write_atomic(place, html_of(document).encode("utf-8", errors="backslashreplace"))
    return place
