"""The files that the linter looks at below a path, and what it leaves out, by name and with the reason.

Links are not followed: a file is looked at where it lies. Left out are built and foreign code (by the folder's name)
and hidden folders; git's own folder and caches of bytecode are nobody's source and are not told.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from seatrial.adapter.lint.record import Skipped

FOREIGN = {"node_modules", "build", "dist", "third_party", "venv", "site-packages"}
NOBODYS = {".git", "__pycache__"}
TEXTS = {".sh", ".json", ".yaml", ".yml", ".toml", ".md", ".rst"}


class Walked(NamedTuple):
    """Paths below the root, sorted: Python, other texts, and what was not looked at."""

    files: tuple[str, ...]
    texts: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def walk(path: Path, root: Path) -> Walked:
    """`path` itself if it is a file (one that is no known text counts as Python), else everything below it."""
    if path.is_file():
        name = path.relative_to(root).as_posix()
        return Walked((), (name,), ()) if path.suffix in TEXTS else Walked((name,), (), ())
    files: list[str] = []
    texts: list[str] = []
    skipped: list[Skipped] = []

    def skip(place: Path, reason: str) -> None:
        skipped.append(Skipped(path=place.relative_to(root).as_posix(), reason=reason))

    def refused(error: OSError) -> None:
        skip(Path(error.filename), f"cannot be read: {error.strerror}")

    for folder, names, entries in os.walk(path, onerror=refused):
        here = Path(folder)
        inside = []
        for name in sorted(names):
            if (here / name).is_symlink():
                skip(here / name, f"a symlink to {(here / name).readlink()}")
            elif name in NOBODYS:
                continue
            elif name in FOREIGN or name.startswith("."):
                skip(here / name, "a hidden folder" if name.startswith(".") else f"folders named {name} hold no source")
            else:
                inside.append(name)
        names[:] = inside
        for name in entries:
            place = here / name
            if place.suffix != ".py" and place.suffix not in TEXTS:
                continue
            mode = place.lstat().st_mode
            if stat.S_ISLNK(mode):
                skip(place, f"a symlink to {place.readlink()}")
            elif not stat.S_ISREG(mode):
                skip(place, "no regular file")
            else:
                (files if place.suffix == ".py" else texts).append(place.relative_to(root).as_posix())
    return Walked(
        tuple(sorted(files, key=_parts)), tuple(sorted(texts, key=_parts)), tuple(sorted(skipped, key=_by_path))
    )


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


def _by_path(item: Skipped) -> str:
    return item.path
