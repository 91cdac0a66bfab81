"""Return a root to a commit. The caller has stored the patch before: what is taken away here is in it.

Refuses (UsageError), before anything is touched: a root that is not the top of its work tree (git would reset what lies
outside it), a patch that is not the present difference any more.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from seatrial.adapter.changes.read import Changes, read_changes
from seatrial.core.command import Command
from seatrial.core.errors import UsageError, WorkspaceError
from seatrial.core.git import git, top_folder
from seatrial.core.record import Record


class Reset(Record):
    """What was done. `back` restores the difference, given the stored patch's path."""

    root: str
    base: str
    head_before: str
    removed: tuple[str, ...]
    back: Command


def check_resettable(root: Path) -> None:
    """Raises UsageError where a reset would reach outside the root."""
    top = top_folder(root)
    if top is None or top.resolve() != root.resolve():
        raise UsageError(
            f"{root} is not the top of a git work tree", mend=f"Name {top}." if top else "Name a source checkout."
        )


def reset(changes: Changes, patch_file: Path) -> Reset:
    """Put the root back to the base of `changes`, whose patch lies in `patch_file`."""
    root = Path(changes.record.root)
    check_resettable(root)
    if hashlib.sha256(patch_file.read_bytes()).hexdigest() != changes.record.patch_sha256:
        raise WorkspaceError(f"{patch_file} is not the difference that is to be saved", mend="Run it again.")
    now = read_changes(root, changes.record.base, changes.record.base_source)
    if now.record.patch_sha256 != changes.record.patch_sha256:
        raise UsageError(f"{root} changed while its difference was saved", mend="Run `seatrial reset --yes` again.")
    untracked = [f.path for f in now.record.files if not f.tracked]
    nested = [name for name in untracked if name.endswith("/")]
    if nested:
        raise UsageError(
            f"{root} holds another repository, {nested[0]}", mend="Move it out of the root; it is not ours."
        )
    if git(root, "reset", "--hard", "--quiet", changes.record.base) is None:
        raise WorkspaceError(f"git did not reset {root}", mend=f"The difference is kept in {patch_file}.")
    for name in untracked:
        path = root / name
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == root:
                break
            with contextlib.suppress(OSError):
                folder.rmdir()
    left = read_changes(root, changes.record.base, "reset")
    if left.record.files:
        raise WorkspaceError(
            f"{root} still differs in {left.record.files[0].path}", mend=f"The difference is kept in {patch_file}."
        )
    return Reset(
        root=str(root),
        base=changes.record.base,
        head_before=changes.record.head,
        removed=tuple(untracked),
        back=Command(
            purpose="put the changes back",
            argv=("git", "-C", str(root), "apply", "--whitespace=nowarn", str(patch_file)),
        ),
    )
