"""Read what changed in a root since a commit: commits, uncommitted edits and untracked files alike.

In: a folder in a git work tree, a revision. Out: `RootChanges`, and the same difference as a patch. Refuses
(UsageError): a folder without git, a revision git does not know. Ignored files do not count.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from seatrial.adapter.changes.classify import FileText
from seatrial.adapter.changes.record import FileChange, Hunk, Kind, RootChanges
from seatrial.core.errors import UsageError, WorkspaceError
from seatrial.core.finding import Finding, Severity
from seatrial.core.git import git

SCHEMA_VERSION = 1
UNRELATED, MUCH_UNRELATED = "L001", "L002"
HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
# Of unrelated lines: from here on a reviewer is owed a separate change.
MUCH = 50
# --full-index: how far git shortens a name depends on how many objects the repository has, a change must not.
PLAIN = (
    *("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
    *("--full-index", "--src-prefix=a/", "--dst-prefix=b/"),
)
PART = re.compile(rb"^(?=diff --git )", re.M)


class Changes(NamedTuple):
    """The record, and the patch that `git apply` takes from the base to the present state.

    Files stand in one order, so that an untracked file gives the same patch when it is committed.
    """

    record: RootChanges
    patch: bytes


def read_changes(root: Path, base: str, base_source: str) -> Changes:
    """Everything below `root` that differs from the commit `base`."""
    root = root.absolute()
    head = git(root, "rev-parse", "HEAD")
    if head is None:
        raise UsageError(f"{root} is in no git repository with a commit", mend="Name the root of a source checkout.")
    commit = git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if commit is None:
        raise UsageError(f"git in {root} knows no commit {base!r}", mend="Name another with --base, or fetch it.")
    at = commit.decode().strip()
    log = git(root, "log", "--format=%h %s", f"{at}..HEAD", "--", ".") or b""
    untracked = _names(git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "."))
    listing = _names(git(root, "diff", *PLAIN, "--relative", "--name-status", "-z", at, "--", "."))
    pairs = list(zip(listing[::2], listing[1::2], strict=True))
    patch = _difference(root, "--relative", "--binary", at, "--", ".")
    files = [_tracked(root, at, status, name) for status, name in pairs]
    for name in untracked:
        if not name.endswith("/"):  # Another repository: git shows nothing of it, and `reset` refuses it.
            # The exit code of --no-index is 1 when the two differ, which they do.
            patch += _difference(root, "--no-index", "--binary", "--", "/dev/null", name, fine=(0, 1))
        files.append(_file(name, "added", False, "", _text(root / name)))
    files.sort(key=lambda f: f.path)
    patch = b"".join(sorted(PART.split(patch)))
    record = RootChanges(
        schema_version=SCHEMA_VERSION,
        root=str(root),
        base=at,
        base_source=base_source,
        head=head.decode().strip(),
        commits=tuple(log.decode("utf-8", "replace").splitlines()),
        files=tuple(files),
        patch_sha256=hashlib.sha256(patch).hexdigest(),
        findings=_findings(files),
    )
    return Changes(record, patch)


def _difference(root: Path, *words: str, fine: tuple[int, ...] = (0,)) -> bytes:
    """What `git diff` prints. Raises WorkspaceError where it fails: a patch with a part missing would restore less."""
    found = git(root, "diff", *PLAIN, *words, fine=fine)
    if found is None:
        raise WorkspaceError(
            f"git cannot say how {words[-1]} in {root} differs", mend="Make its files readable, or run `git diff`."
        )
    return found


def _names(listing: bytes | None) -> list[str]:
    return [os.fsdecode(n) for n in (listing or b"").split(b"\0") if n]


def _tracked(root: Path, base: str, status: str, name: str) -> FileChange:
    state: Literal["added", "changed", "removed"]
    state = "added" if status.startswith("A") else "removed" if status.startswith("D") else "changed"
    old = git(root, "show", f"{base}:./{name}") if state != "added" else b""
    before = None if old is None else _decoded(old)
    return _file(name, state, True, before, _text(root / name) if state != "removed" else "")


def _text(path: Path) -> str | None:
    """A file's text; None for a binary one, a link, or one that cannot be read."""
    try:
        return None if path.is_symlink() else _decoded(path.read_bytes())
    except OSError:
        return None


def _decoded(data: bytes) -> str | None:
    try:
        return None if b"\0" in data[:8192] else data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _file(
    name: str, status: Literal["added", "changed", "removed"], tracked: bool, old: str | None, new: str | None
) -> FileChange:
    if old is None or new is None:
        kind: Kind = FileText(name, "", "").classify(1, ["binary"], 1, []).kind
        return FileChange(path=name, status=status, tracked=tracked, kind=kind)
    text = FileText(name, old, new)
    hunks = tuple(_hunks(text, old.splitlines(), new.splitlines()))
    weight: dict[Kind, int] = {}
    for hunk in hunks:
        weight[hunk.kind] = weight.get(hunk.kind, 0) + hunk.added + hunk.removed
    most: Kind = max(weight, key=lambda k: weight[k]) if weight else "unrelated"
    return FileChange(path=name, status=status, tracked=tracked, kind=most, hunks=hunks)


def _hunks(text: FileText, old: list[str], new: list[str]) -> list[Hunk]:
    import difflib

    out = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            kind, why = text.classify(i1 + 1, old[i1:i2], j1 + 1, new[j1:j2])
            line = j1 + 1 if j2 > j1 else i1 + 1
            out.append(Hunk(line=line, added=j2 - j1, removed=i2 - i1, kind=kind, why=why))
    return out


def _findings(files: list[FileChange]) -> tuple[Finding, ...]:
    out = []
    total = 0
    for file in files:
        stray = [h for h in file.hunks if h.kind == "unrelated"]
        if not stray and (file.hunks or file.kind != "unrelated"):
            continue
        lines = sum(h.added + h.removed for h in stray)
        total += lines
        first = stray[0] if stray else None
        said = (
            f"{lines} lines in {len(stray)} places serve no model, operator, mapping or test"
            if first
            else "no text: a binary file or a symlink"
        )
        out.append(
            Finding(
                code=UNRELATED,
                severity=Severity.WARNING,
                place=f"{file.path}:{first.line}" if first else file.path,
                message=f"{said} ({first.why})" if first else said,
                next_step="Take it out of this change, or into one of its own.",
            )
        )
    if total >= MUCH:
        out.append(
            Finding(
                code=MUCH_UNRELATED,
                severity=Severity.WARNING,
                place=f"{len(out)} files",
                message=f"{total} unrelated lines in all: a reviewer cannot see the adaptation for them",
                next_step="Split the change.",
            )
        )
    return tuple(out)
