"""Tell a CI service what a run found: step summary, annotations, JUnit XML."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from seatrial.cli.common import json_option, leave, print_json
from seatrial.core.errors import WorkspaceError
from seatrial.core.verdict import Verdict


@click.command()
@click.argument("run", default="last")
@click.option("--workspace", default=".", type=click.Path(), help="The folder that has .seatrial.", show_default=True)
@click.option("--summary", type=click.Path(), help="Append the summary here; $GITHUB_STEP_SUMMARY if left out.")
@click.option("--junit", type=click.Path(), help="Write JUnit XML here.")
@click.option("--no-annotations", is_flag=True, help="Print no ::error and ::warning lines.")
@json_option
def command(
    run: str, workspace: str, summary: str | None, junit: str | None, no_annotations: bool, as_json: bool
) -> None:
    """Report RUN (a name, a unique beginning of one, or `last`) to a CI service; exits with the run's verdict."""
    from seatrial.core.atomic import write_atomic
    from seatrial.core.finding import errors
    from seatrial.core.record import replace
    from seatrial.evidence import Run, open_workspace, verify_run
    from seatrial.report.ci import annotations_of, junit_of, summary_of
    from seatrial.report.gather import gather

    kept = Run.read(open_workspace(Path(workspace), write=False).run_folder(run))
    found = gather(kept)
    # Whoever reads a green check reads nothing else: every file is hashed again, not the facts alone.
    more = (f for f in errors(verify_run(kept.folder).findings) if f.message not in found.problems)
    changed = tuple(f"{f.place}: {f.message}" for f in more)
    found = replace(found, problems=(*found.problems, *changed))
    text = summary_of(found)
    place = summary or os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if place:
            append(place, text)
        if junit:
            write_atomic(Path(junit).absolute(), junit_of(found).encode("utf-8"))
    except OSError as exc:
        raise WorkspaceError(
            f"{exc.filename or junit} cannot be written: {exc.strerror}", mend="Name another file."
        ) from exc
    word = str(found.finished.get("verdict") or "")
    # A run that never finished has shown nothing.
    verdict = Verdict(word) if word in {v.value for v in Verdict} else Verdict.INCONCLUSIVE
    if found.damage:
        # Records that do not join, or whose files were changed, are no evidence of anything they say.
        click.echo(f"the records of run {found.run_id} are damaged: {found.damage}", err=True)
        verdict = Verdict.FAIL
    if as_json:
        print_json({"run_id": found.run_id, "verdict": verdict, "summary": text, "annotations": annotations_of(found)})
        leave(verdict)
    if not no_annotations:
        sys.stdout.writelines(f"{line}\n" for line in annotations_of(found))
    if not place:
        sys.stdout.write(text)
    leave(verdict)


def append(place: str, text: str) -> None:
    """Append to the summary's file."""
    # O_NONBLOCK only for the opening: a named pipe that nobody reads is an error, not an endless wait.
    handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    os.set_blocking(handle, True)
    with os.fdopen(handle, "a", encoding="utf-8") as stream:
        stream.write(text)
