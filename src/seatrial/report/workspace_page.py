"""All runs of a workspace on one self-contained page: filters, the feature matrix, any two runs side by side.

In: a workspace. Out: HTML. A run that cannot be read has a line that says so. Everything is in the page: it works from
a file, without a network, and without scripts it is still the whole table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import SeatrialError
from seatrial.core.record import Record
from seatrial.evidence import Run, Workspace
from seatrial.evidence.workspace import explained
from seatrial.report.compare import GROUPS, Facets, facets
from seatrial.report.html import TEMPLATES, asset, embedded, environment, hashed
from seatrial.report.sections.features import TONES as STATUS_TONES
from seatrial.report.words import moment, plural, seconds, visible

if TYPE_CHECKING:
    from jinja2 import Template

PAGE = "overview.html"
MINUTE = re.compile(r"(?<=\d\d:\d\d):\d\d UTC$")  # of a moment: the column's title says that it is UTC


class Line(Record):
    """A run in the table. `href` leads to its report if there is one."""

    run_id: str
    kind: str
    when: str
    model: str
    target: str
    engine: str
    verdict: str
    tone: str
    sealed: bool
    took: str
    reason: str
    href: str


class Column(Record):
    """A column of the feature matrix: the newest run of a model on a target that tried features."""

    model: str
    target: str
    run_id: str
    href: str
    statuses: dict[str, str]


def read_all(workspace: Workspace) -> tuple[Facets, ...]:
    """The newest first; a run that cannot be read is told as unreadable, never left out."""
    return tuple(map(_facets, reversed(workspace.run_folders())))


def _facets(folder: Path) -> Facets:
    try:
        return facets(Run.read(folder))
    except SeatrialError as exc:
        return Facets(
            run_id=visible(folder.name), kind="unknown", created_at="", checkpoint="", target="", platform="",
            engine="", state="unreadable", verdict="unreadable", signed_off=False, reason=exc.message, wall_s=None,
            values={}, features={},
        )  # fmt: skip


def workspace_html(runs: Iterable[Facets], *, title: str, folder: Path | None = None, refresh_s: int = 0) -> str:
    """`folder`: the workspace's, to link only to reports that are there; None links to all."""
    known = list(runs)
    style, script = asset("report.css") + asset("overview.css"), asset("overview.js")
    return _template().render(
        title=title,
        lines=[_line(r, folder) for r in known],
        columns=_columns(known, folder),
        tones=STATUS_TONES,
        kinds=sorted({r.kind for r in known}),
        verdicts=sorted({r.verdict for r in known}),
        targets=sorted({r.target for r in known if r.target}),
        models=sorted({_model(r.checkpoint) for r in known if r.checkpoint}),
        counted=plural(len(known), "run"),
        data=embedded(_data(known)),
        style=style,
        script=script,
        refresh_s=refresh_s,
        policy=f"default-src 'none'; style-src {hashed(style)}; script-src {hashed(script)}; base-uri 'none'; "
        "form-action 'none'",
    )


def write_overview(workspace: Workspace) -> Path:
    """Write `overview.html` into the workspace; returns its path."""
    place = workspace.root / PAGE
    html = workspace_html(read_all(workspace), title=workspace.root.parent.name or "workspace", folder=workspace.root)
    with explained(workspace.root):
        write_atomic(place, html.encode("utf-8", errors="backslashreplace"))
    return place


def _line(run: Facets, folder: Path | None) -> Line:
    tone = run.verdict if run.verdict in ("pass", "fail", "inconclusive", "not-applicable") else "inconclusive"
    return Line(
        run_id=run.run_id,
        kind=run.kind,
        when=MINUTE.sub("", moment(run.created_at)) or "unknown",
        model=_model(run.checkpoint) or "unknown",
        target=run.target or "unknown",
        engine=run.engine or "unknown",
        verdict=run.verdict,
        tone=tone,
        sealed=run.signed_off,
        took=seconds(run.wall_s) if run.wall_s is not None else "unknown",
        reason=run.reason,
        href=_href(run.run_id, folder),
    )


def _href(run_id: str, folder: Path | None) -> str:
    """The run's report; "" for one that is not there. The name is quoted: it may hold a `#` or a `?`."""
    there = folder is None or (folder / "runs" / run_id / "report.html").is_file()
    return f"runs/{quote(run_id, safe='')}/report.html" if there else ""


def _columns(runs: list[Facets], folder: Path | None) -> list[Column]:
    """The newest of each model and target; runs come newest first."""
    found: dict[tuple[str, str], Column] = {}
    for run in runs:
        key = (_model(run.checkpoint), run.target)
        if run.features and key not in found:
            found[key] = Column(
                model=key[0],
                target=key[1],
                run_id=run.run_id,
                href=_href(run.run_id, folder),
                statuses=run.features,
            )
    return [found[key] for key in sorted(found)]


def _data(runs: list[Facets]) -> dict[str, object]:
    """What the script compares: names and texts once each, a run as pairs of numbers."""
    words: dict[str, int] = {}

    def word(text: str) -> int:
        return words.setdefault(visible(text), len(words))

    rows = [[r.run_id, [[word(n), word(v)] for n, v in r.values.items()]] for r in runs]
    return {"words": list(words), "runs": rows, "groups": list(GROUPS)}


def _model(checkpoint: str) -> str:
    return checkpoint.rstrip("/").rsplit("/", 1)[-1]


@cache
def _template() -> Template:
    return environment(TEMPLATES).get_template("overview.html.j2")
