"""The workspace folder `.seatrial/`: found or made, its runs listed. Refuses what cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from seatrial.core.errors import UsageError, WorkspaceError

FOLDER = ".seatrial"
# A run with its logs is a few megabytes; below this, nothing is begun.
NEEDED_BYTES = 64 * 2**20


class Workspace:
    """The folder `root` with `runs/` in it and the index beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs_folder = root / "runs"
        self.index_file = root / "index.sqlite"

    def run_folders(self) -> list[Path]:
        """All runs, oldest first (their names begin with the second and end with its part)."""
        if not self.runs_folder.is_dir():
            return []
        found = (f for f in self.runs_folder.iterdir() if (f / "manifest.json").is_file())
        return sorted(found, key=lambda f: (f.name[:15], f.name.rpartition("-")[2], f.name))

    def run_folder(self, name: str) -> Path:
        """The run of that name, of a unique beginning of it, or the newest for `last`; raises UsageError."""
        folders = self.run_folders()
        if name == "last" and folders:
            return folders[-1]
        found = [f for f in folders if f.name == name] or [f for f in folders if f.name.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{name!r} fits {len(found)} runs", mend=f"Say which: {', '.join(f.name for f in found)}.")
        raise UsageError(f"there is no run {name!r} in {self.root}", mend="See `seatrial runs list`.")

    def scratch(self, run_id: str) -> Path:
        """A folder, made if needed, for what a running step writes; what a kill leaves there is never evidence."""
        folder = self.root / "scratch" / run_id
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def new_run_id(self, label: str) -> str:
        """Time (UTC), the checkpoint's name and the part of the second in four hex digits: `last` is the last begun."""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._")[:40] or "run"
        while True:
            now = datetime.now(timezone.utc)
            name = f"{now:%Y%m%d-%H%M%S}-{slug}-{now.microsecond * 65536 // 1_000_000:04x}"
            if not (self.runs_folder / name).exists():
                return name


def open_workspace(base: Path, *, write: bool) -> Workspace:
    """The workspace `base/.seatrial` (or `base` itself if it is one). With `write` it is made and tried."""
    base = base.absolute()
    root = base if base.name == FOLDER else base / FOLDER
    workspace = Workspace(root)
    if write:
        with explained(root):
            workspace.runs_folder.mkdir(parents=True, exist_ok=True)
            ignore = root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            trial = root / f".trial-{os.getpid()}"
            trial.write_bytes(b"x")
            trial.unlink(missing_ok=True)  # another container may have the same number
            status = os.statvfs(root)
        free = status.f_bavail * status.f_frsize
        if free < NEEDED_BYTES:
            raise WorkspaceError(
                f"the workspace {root} has {free / 2**20:.0f} MiB free, a run needs {NEEDED_BYTES // 2**20} MiB",
                mend="Free some space, or name another folder with --workspace.",
            )
    return workspace


@contextlib.contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn an OSError of writing under `place` into a WorkspaceError that says what to do."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = "Free some space there, or name another folder with --workspace; what was written before is kept."
        else:
            mend = "Make the folder writable, or name another one with --workspace."
        raise WorkspaceError(f"the workspace {place} cannot be written: {exc.strerror or exc}", mend=mend) from exc
