"""Return the engine's and the plugin's source to their recorded commits, after saving what was changed.

Exit codes: 0 done, 2 usage (without --yes nothing is done), 4 git or the workspace failed.
"""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli._changes_roots import root_options, roots_of
from seatrial.cli.common import json_option, out, print_json


@click.command()
@root_options
@click.option("--yes", is_flag=True, help="Do it.")
@json_option
def command(roots: tuple[Path, ...], target: str, workspace: str, base: str, yes: bool, as_json: bool) -> None:
    """Put the source roots back. Their difference is stored in the workspace first, and the way back is printed."""
    from seatrial.adapter.changes.read import read_changes
    from seatrial.adapter.changes.reset import check_resettable, reset
    from seatrial.cli.diff import show
    from seatrial.core.errors import UsageError
    from seatrial.core.record import to_json
    from seatrial.evidence import open_workspace
    from seatrial.evidence.artifacts import store_bytes

    found = [read_changes(r.root, r.base, r.source) for r in roots_of(roots, target, workspace, base)]
    for changes in found:
        check_resettable(Path(changes.record.root))
    work = [c for c in found if c.record.files or c.record.head != c.record.base]
    if work and not yes:
        if not as_json:
            for changes in work:
                show(changes.record)
        raise UsageError("nothing was done", mend="Say --yes to put these roots back.")
    done = []
    for changes in work:
        kept = open_workspace(Path(workspace), write=True).root / "changes"
        kept.mkdir(exist_ok=True)
        name = Path(changes.record.root).name or "root"
        patch = store_bytes(kept, f"{name}.patch", changes.patch)
        store_bytes(kept, f"{name}.json", to_json(changes.record, indent=2))
        done.append(reset(changes, kept / patch.file))
    if as_json:
        print_json(done)
        return
    console = out()
    for one in done:
        console.print(f"{one.root} is at {one.base[:12]} again (was at {one.head_before[:12]})", markup=False)
        console.print(f"  to put the changes back: {one.back.shell()}", markup=False)
    if not done:
        console.print("nothing to put back", markup=False)
