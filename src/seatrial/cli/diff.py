"""Show what was changed in the engine's and the plugin's source, classed by what it serves; warns of unrelated edits.

Exit codes: 0 nothing unrelated, 1 unrelated edits, 2 usage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli._changes_roots import root_options, roots_of
from seatrial.cli.common import json_option, out, print_json

if TYPE_CHECKING:
    from seatrial.adapter.changes import RootChanges


@click.command()
@root_options
@click.option("--patch", "as_patch", is_flag=True, help="Print the difference itself, as `git apply` takes it.")
@json_option
def command(roots: tuple[Path, ...], target: str, workspace: str, base: str, as_patch: bool, as_json: bool) -> None:
    """What changed in the source roots since their recorded commits: commits, edits and untracked files."""
    from seatrial.adapter.changes.read import read_changes

    found = [read_changes(r.root, r.base, r.source) for r in roots_of(roots, target, workspace, base)]
    if as_patch:
        sys.stdout.flush()
        for changes in found:
            sys.stdout.buffer.write(changes.patch)
    elif as_json:
        print_json([changes.record for changes in found])
    else:
        for changes in found:
            show(changes.record)
    raise SystemExit(1 if any(changes.record.findings for changes in found) else 0)


def show(record: RootChanges) -> None:
    """The root's files with their classes, and the warnings."""
    console = out()
    console.print(f"{record.root} since {record.base[:12]} ({record.base_source})", markup=False)
    for commit in record.commits:
        console.print(f"  commit {commit}", markup=False)
    for file in record.files:
        counts: dict[str, int] = {}
        for hunk in file.hunks:
            counts[hunk.kind] = counts.get(hunk.kind, 0) + hunk.added + hunk.removed
        said = ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items())) or f"{file.kind}, binary"
        console.print(f"  {file.status} {file.path}{'' if file.tracked else ' (untracked)'}: {said}", markup=False)
    if not record.files:
        console.print("  nothing changed", markup=False)
    else:
        total = ", ".join(f"{kind} {n}" for kind, n in sorted(record.count().items()))
        console.print(f"  lines: {total or 'binary only'}", markup=False)
    for finding in record.findings:
        console.print(f"  {finding.one_line()}", markup=False)
