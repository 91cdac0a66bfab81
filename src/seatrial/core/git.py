"""Git, asked quietly: never a prompt, a pager, a hook, a file-system monitor or an external diff of the repository.

In: a folder and git's words. Out: bytes, or None where there is no git, no repository, or git refuses.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# What a repository's own configuration could otherwise make git start.
SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
TIMEOUT_S = 120.0


def git(folder: Path, *words: str, stdin: bytes | None = None, fine: tuple[int, ...] = (0,)) -> bytes | None:
    """Standard output of `git words` in `folder`; None if git is absent, takes over two minutes, or ends otherwise
    than with a code in `fine`."""
    # Where a repository lies is `folder`'s to say. Settings stay: a container trusts its mounted checkouts by them.
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
    quiet.update(GIT_TERMINAL_PROMPT="0", GIT_OPTIONAL_LOCKS="0", GIT_PAGER="cat", LC_ALL="C")
    try:
        result = subprocess.run(
            ["git", *SAFE, "-C", str(folder), *words],
            capture_output=True,
            env=quiet,
            input=stdin if stdin is not None else b"",
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode in fine else None


def git_folder(folder: Path) -> Path | None:
    """The git directory of the repository `folder` is in (of its own worktree, if it is a linked one)."""
    found = git(folder, "rev-parse", "--absolute-git-dir")
    return Path(os.fsdecode(found.rstrip(b"\n"))) if found else None


def top_folder(folder: Path) -> Path | None:
    """The top of the work tree `folder` is in."""
    found = git(folder, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(found.rstrip(b"\n"))) if found else None


def changed_paths(folder: Path) -> list[str] | None:
    """Paths below `folder`, relative to it, that differ from the commit or that git does not know; None: no git.

    Ignored files do not count; a rename counts as both its names.
    """
    top = top_folder(folder)
    listing = git(folder, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", ".")
    if top is None or listing is None:
        return None
    below = os.path.relpath(folder.resolve(), top.resolve())
    prefix = "" if below == "." else f"{below}/"
    return [os.fsdecode(entry[3:]).removeprefix(prefix) for entry in listing.split(b"\0") if entry]
