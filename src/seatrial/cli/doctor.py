"""Say whether a target's stack is sound: versions, plugins, files, ports, limits, devices, with a mend for each fault.

Exit codes: 0 sound, 1 something is wrong, 3 something could not be looked at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.support.doctor import DoctorReport


@click.command()
@click.option("--target", default="cpu", show_default=True, help="The target whose stack is looked at.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="A checkpoint: is there room for what it lacks?")
@click.option("--checkpoint-bytes", type=click.IntRange(min=1), help="Its whole size, for one that is not here yet.")
@json_option
def command(target: str, checkpoint: Path | None, checkpoint_bytes: int | None, as_json: bool) -> None:
    """Look at the target's interpreter and at this machine. Nothing is changed, served or killed."""
    from seatrial.core.errors import UsageError
    from seatrial.support.doctor import doctor
    from seatrial.targets import find_overrides, load_target

    if checkpoint_bytes is not None and checkpoint is None:
        raise UsageError("--checkpoint-bytes needs --checkpoint", mend="Name the folder it is to be in.")
    if checkpoint is not None and checkpoint.exists() and not checkpoint.is_dir():
        raise UsageError(f"--checkpoint {checkpoint} is a file", mend="Name the checkpoint's folder.")
    chosen = load_target(target, find_overrides(Path.cwd())).target
    with tempfile.TemporaryDirectory(prefix="seatrial-doctor-") as scratch:
        log = Path(scratch) / "probe.log"
        console = err()
        report = doctor(
            chosen,
            log=log,
            checkpoint=checkpoint,
            checkpoint_bytes=checkpoint_bytes,
            progress=lambda line: None if as_json else console.print(line, style="dim", markup=False),
        )
        said = log.read_text(errors="replace")[-2000:] if log.is_file() else ""
    if as_json:
        print_json({**_plain(report), "findings": report.findings})
    else:
        _print(report)
        if said and report.checks[0].outcome.verdict is Verdict.FAIL:
            click.echo(said, err=True)
    leave(report.outcome.verdict)


def _plain(report: DoctorReport) -> dict[str, object]:
    from seatrial.core.record import to_plain

    plain: dict[str, object] = to_plain(report)
    return plain


def _print(report: DoctorReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = out()
    style = STYLES[report.outcome.verdict]
    console.print(f"[{style}]{report.outcome.verdict.value}[/] {escape(report.outcome.reason)}")
    table = Table("check", "verdict", "seen")
    for check in report.checks:
        verdict = check.outcome.verdict
        table.add_row(check.name, f"[{STYLES[verdict]}]{verdict.value}[/]", escape(check.seen))
    console.print(table)
    for finding in report.findings:
        console.print(f"{finding.severity.value} {escape(finding.one_line())}")
        if finding.next_step:
            console.print(f"    {escape(finding.next_step)}")
