"""Every write of the adapter workbench: staged, shown, made all together under one root, and undoable.

    writes = Writes(root, "seatrial port qwen3")      # refuses nothing yet
    writes.put("pkg/models/qwen3.py", data)           # relative to the root; bytes
    writes.remove("pkg/models/old.py")
    writes.diff()                                     # unified diff of what is staged: for --dry-run
    batch = writes.commit(allow_dirty=False)          # None if everything is already as staged
    batch.changes                                     # what was created, changed, removed
    undo(root)                                        # takes back the newest batch (or `batch_id`)
    batches(root)                                     # what can be taken back, oldest first

`writes.read(path)` gives the staged bytes, else the file's, else None, so several edits of one file add up. Refused
(UsageError): an absolute path, `..`, the `.git` folder, a symlink on the way or at the end, something that is no
regular file, and, at `commit`, a git tree with changes that are neither committed nor made by an earlier batch of this
journal. Files keep their permission bits. The journal holds the old bytes; it lies in the git directory of the root's
repository (`seatrial/undo/`), else in `.seatrial/undo/` under the root. It is written before the first file is
touched, so a kill at any point can be undone. `undo` refuses where a file has changed since, and then touches nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import secrets
import shutil
import stat
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Literal

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import UsageError, WorkspaceError
from seatrial.core.git import changed_paths, git_folder
from seatrial.core.record import Record, from_json, replace, to_json

SCHEMA_VERSION = 1
BATCH = "batch.json"
# A source file; anything larger is not ours to edit.
LARGEST = 32 * 2**20


class Change(Record):
    """One file of a batch. Hashes are SHA-256 of the bytes, "" where the file is not there.

    `stored` is the file in the journal that holds the old bytes, `mode` its permission bits.
    """

    path: str
    kind: Literal["created", "changed", "removed"]
    before: str = ""
    after: str = ""
    stored: str = ""
    mode: int = 0


class Batch(Record):
    """Writes that were made together. `root` is the folder they are under, `folders` those that were made for them."""

    schema_version: int
    id: str
    root: str
    label: str
    made_at: str
    changes: tuple[Change, ...]
    folders: tuple[str, ...] = ()


class Writes:
    """Staged writes under `root`; `label` says whose (a command line) and is kept in the journal."""

    def __init__(self, root: Path, label: str) -> None:
        self.root = root.absolute()
        self.label = label
        self._staged: dict[str, bytes | None] = {}

    def read(self, path: str) -> bytes | None:
        """The file as it would be after `commit`; None if it would not be there."""
        name = _checked(self.root, path)
        return self._staged[name] if name in self._staged else _bytes(self.root / name)

    def put(self, path: str, data: bytes) -> None:
        """Stage the whole content of a file."""
        self._staged[_checked(self.root, path)] = data

    def remove(self, path: str) -> None:
        """Stage a file's removal; a file that is not there is no change."""
        self._staged[_checked(self.root, path)] = None

    def changes(self) -> tuple[Change, ...]:
        """What `commit` would do, by path."""
        return tuple(c for name in sorted(self._staged) if (c := self._change(name)) is not None)

    def diff(self) -> str:
        """Unified diff of everything staged; a file that is no UTF-8 text is one line."""
        parts = []
        for change in self.changes():
            old, new = _bytes(self.root / change.path) or b"", self._staged[change.path] or b""
            parts.append(unified(change.path, old, new, change.kind))
        return "".join(parts)

    def commit(self, *, allow_dirty: bool = False) -> Batch | None:
        """Make the writes; None if there is nothing to change.

        Raises WorkspaceError where the system lets nothing be written, after undoing what was begun.
        """
        changes = self.changes()
        if not changes:
            return None
        if not allow_dirty:
            self._refuse_dirty()
        try:
            return self._commit(changes)
        except OSError as exc:
            raise WorkspaceError(
                f"{exc.filename or self.root} cannot be written: {exc.strerror or exc}",
                mend=f"Mend the permissions of {self.root}, or make room on its disk; nothing was changed.",
            ) from exc

    def _commit(self, changes: tuple[Change, ...]) -> Batch:
        made_root = _missing_folders(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        now = datetime.now(timezone.utc)
        batch_id = f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"
        folder = journal(self.root) / batch_id
        folder.mkdir(parents=True)
        stored = []
        for number, change in enumerate(changes):
            old = _bytes(self.root / change.path)
            if old is not None:
                write_atomic(folder / f"{number}.before", old)
                mode = stat.S_IMODE((self.root / change.path).stat().st_mode)
                stored.append(replace(change, stored=f"{number}.before", mode=mode))
            else:
                stored.append(change)
        batch = Batch(
            schema_version=SCHEMA_VERSION,
            id=batch_id,
            root=str(self.root),
            label=self.label,
            made_at=now.isoformat(timespec="seconds"),
            changes=tuple(stored),
            folders=tuple(dict.fromkeys(f for c in changes for f in _new_folders(self.root, c.path, bool(made_root)))),
        )
        write_atomic(folder / BATCH, to_json(batch, indent=2))
        try:
            for change in changes:
                self._write(change)
        except OSError:
            undo(self.root, batch.id)
            raise
        self._staged.clear()
        return batch

    def _change(self, name: str) -> Change | None:
        old, new = _bytes(self.root / name), self._staged[name]
        if old == new:
            return None
        kind: Literal["created", "changed", "removed"]
        kind = "created" if old is None else "removed" if new is None else "changed"
        return Change(path=name, kind=kind, before=_hash(old), after=_hash(new))

    def _write(self, change: Change) -> None:
        path = self.root / _checked(self.root, change.path)
        data = self._staged[change.path]
        if data is None:
            path.unlink()
            return
        _replace(path, data)

    def _refuse_dirty(self) -> None:
        if not self.root.is_dir():
            return
        changed = changed_paths(self.root)
        if changed is None and any((p / ".git").exists() for p in (self.root, *self.root.parents)):
            raise UsageError(
                f"git does not say whether {self.root} is clean",
                mend="Run `git status` there and mend what it says, or say --allow-dirty.",
            )
        dirty = [name for name in changed or [] if not self._ours(name)]
        if dirty:
            more = f" and {len(dirty) - 3} more" if len(dirty) > 3 else ""
            raise UsageError(
                f"{self.root} has uncommitted changes: {', '.join(dirty[:3])}{more}",
                mend="Commit or stash them, or say --allow-dirty.",
            )

    def _ours(self, name: str) -> bool:
        """Whether a changed file is as a batch of this journal left it."""
        if name.startswith(".seatrial/"):
            return True
        latest = {c.path: c for batch in batches(self.root) for c in batch.changes}.get(name)
        return latest is not None and _hash(_bytes(self.root / name)) == latest.after


def journal(root: Path) -> Path:
    """The folder of a root's batches."""
    base = git_folder(root) if root.is_dir() else None
    return base / "seatrial" / "undo" if base is not None else root.absolute() / ".seatrial" / "undo"


def batches(root: Path) -> list[Batch]:
    """The batches under `root` that can be taken back, oldest first."""
    folder = journal(root)
    if not folder.is_dir():
        return []
    found = [read_batch(f) for f in sorted(folder.iterdir()) if (f / BATCH).is_file()]
    # The same folder by another name (a symlink) has the same batches.
    return [b for b in found if Path(b.root).resolve() == root.resolve()]


def read_batch(folder: Path) -> Batch:
    return from_json(Batch, (folder / BATCH).read_bytes(), where=str(folder / BATCH))


def undo(root: Path, batch_id: str = "") -> Batch:
    """Take back the newest batch, or the one named; returns it. Its journal entry is gone afterwards.

    Raises UsageError, before anything is touched, if there is none, or if a file has changed since.
    """
    root = root.absolute()
    if not root.is_dir():
        raise UsageError(f"{root} is no folder", mend="Name the root that was written to.")
    known = batches(root)
    chosen = [b for b in known if not batch_id or b.id.startswith(batch_id)]
    if not chosen or (batch_id and len(chosen) > 1):
        what = (
            f"no batch {batch_id!r}" if batch_id and not chosen else "nothing" if not chosen else "more than one batch"
        )
        ids = ", ".join(b.id for b in known) or "none"
        raise UsageError(f"{what} to undo under {root}", mend=f"Known: {ids}.")
    batch = chosen[-1]
    folder = journal(root) / batch.id
    moved = []
    for change in batch.changes:
        now = _hash(_bytes(root / _checked(root, change.path)))
        if now not in (change.after, change.before):
            moved.append(change.path)
    if moved:
        raise UsageError(
            f"{', '.join(moved[:5])} changed since {batch.label!r} wrote it",
            mend=f"Put it right by hand: the old bytes are in {folder}.",
        )
    for change in batch.changes:
        path = root / change.path
        if change.stored:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, (folder / change.stored).read_bytes())
            path.chmod(change.mode)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder)
    _remove_empty(folder.parent, folder.parent.parent)
    _remove_empty(
        *(root / name for name in sorted(batch.folders, key=lambda n: n.count("/") - (n == "."), reverse=True))
    )
    return batch


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # somebody put something else into it
            folder.rmdir()


def unified(path: str, old: bytes, new: bytes, kind: str) -> str:
    """A unified diff of one file's bytes as git would head it."""
    try:
        before, after = old.decode("utf-8"), new.decode("utf-8")
    except UnicodeDecodeError:
        return f"Binary file {path} {kind}\n"
    names = ("/dev/null" if kind == "created" else f"a/{path}", "/dev/null" if kind == "removed" else f"b/{path}")
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _checked(root: Path, path: str) -> str:
    """The path in plain form, if it stays under the root without a symlink; raises UsageError."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in path:
        raise UsageError(f"{path!r} is not a path under {root}", mend="Name it relative to the root, without `..`.")
    if ".git" in pure.parts:
        raise UsageError(f"{path!r} is git's own", mend="Nothing is written there.")
    place = root
    for part in pure.parts:
        place = place / part
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            break
        except NotADirectoryError:
            raise UsageError(f"{place.parent} is no folder", mend="Nothing was written.") from None
        if stat.S_ISLNK(mode):
            raise UsageError(f"{place} is a symlink", mend="Name the file it points to, under its own root.")
        last = place == root / pure
        if not (stat.S_ISREG(mode) if last else stat.S_ISDIR(mode)):
            raise UsageError(f"{place} is no {'regular file' if last else 'folder'}", mend="Nothing was written.")
    return str(pure)


def _bytes(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is over {LARGEST // 2**20} MiB", mend="It is no source file; leave it out.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise WorkspaceError(f"{path} cannot be read: {exc.strerror}", mend="Mend its permissions.") from exc


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole, keeping the permission bits of the one that was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    write_atomic(path, data)
    if mode is not None:
        path.chmod(mode)


def _missing_folders(path: Path) -> list[Path]:
    return [p for p in (path, *path.parents) if not p.exists()]


def _new_folders(root: Path, path: str, new_root: bool) -> list[str]:
    parents = [str(p) for p in PurePosixPath(path).parents if str(p) != "."]
    return [p for p in parents if not (root / p).exists()] + (["."] if new_root else [])


def _hash(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""
