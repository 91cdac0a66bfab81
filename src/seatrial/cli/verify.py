"""Re-hash a run or a bundle and derive every verdict again from its raw evidence."""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli.common import STYLES, json_option, leave, out, print_json


@click.command()
@click.argument("bundle", type=click.Path())
@json_option
def command(bundle: str, as_json: bool) -> None:
    """Verify BUNDLE: a run's folder, a workspace, a delivery's bundle, or a tar archive of one.

    Hashes are checked, then every verdict is derived again from answers, logs and accounts; nothing is believed.
    """
    from seatrial.delivery.verify import verify_bundle

    report = verify_bundle(Path(bundle))
    if as_json:
        print_json(report)
        leave(report.verdict)
    console = out()
    for run in report.runs:
        console.print(f"[{STYLES[run.verdict]}]{run.verdict.value}[/]  ", end="")
        text = f"{run.run_id} ({run.kind}): {run.records} records, {run.artifacts} artifacts hashed, "
        console.print(f"{text}{run.derived} verdicts derived again", markup=False)
        for one in run.checked:
            told = f"derived again: {one.derived}" if one.derived else "ONLY HASH-CHECKED, see below"
            console.print(f"    {one.step:<18} {told}", markup=False)
        for finding in run.findings:
            console.print(f"    {finding.severity.value} {finding.one_line()}", markup=False)
    for finding in report.findings:
        console.print(f"  {finding.severity.value} {finding.one_line()}", markup=False)
    leave(report.verdict)
