"""The roots that `diff` and `reset` look at, and the commit each is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from seatrial.core.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class RootBase(NamedTuple):
    """A root, the revision it is compared with, and where that comes from."""

    root: Path
    base: str
    source: str


def roots_of(roots: tuple[Path, ...], target: str, workspace: str, base: str) -> list[RootBase]:
    """Roots named, else the target's; the base is `base`, else what the first run recorded, else HEAD."""
    if not Path(workspace).is_dir():
        raise UsageError(f"the workspace {workspace} is not a folder", mend="Name the folder that has .seatrial.")
    chosen = list(roots)
    if not chosen:
        from seatrial.targets import find_overrides, load_target

        # Without the user's own file these would be the built-in roots: other checkouts, which `reset` puts back.
        located = load_target(target, find_overrides(Path.cwd()))
        chosen = [Path(r) for r in (located.target.roots.vllm, located.target.roots.plugin) if r]
    if not chosen:
        raise UsageError(f"the target {target} names no source roots", mend="Name them: --root FOLDER.")
    out = []
    for root in chosen:
        if not root.is_dir():
            raise UsageError(f"the root {root} is not a folder", mend="Name a source checkout: --root FOLDER.")
        if base:
            out.append(RootBase(root, base, "--base"))
            continue
        recorded = _recorded(root, workspace)
        out.append(recorded or RootBase(root, "HEAD", "HEAD: no run of this workspace recorded the root"))
    return out


def _recorded(root: Path, workspace: str) -> RootBase | None:
    """The commit at which the workspace's first run found the root."""
    from seatrial.core.record import from_json
    from seatrial.evidence import open_workspace
    from seatrial.evidence.manifest import Manifest

    for folder in open_workspace(Path(workspace), write=False).run_folders():
        file = folder / "manifest.json"
        manifest = from_json(Manifest, file.read_bytes(), where=str(file))
        for state in manifest.git:
            if Path(state.folder).resolve() == root.resolve():
                dirty = ", which found uncommitted changes" if state.is_dirty else ""
                return RootBase(root, state.commit, f"run {folder.name}{dirty}")
    return None


def root_options(function: F) -> F:
    """The options both commands share."""
    path = click.Path(path_type=Path)
    for option in (
        click.option(
            "--base", default="", help="The commit to compare with; default: as the first run recorded, else HEAD."
        ),
        click.option(
            "--workspace", default=".", type=click.Path(), help="The folder that has .seatrial.", show_default=True
        ),
        click.option("--target", default="cpu", help="The target whose roots are meant.", show_default=True),
        click.option(
            "--root", "roots", multiple=True, type=path, help="A source root instead of the target's; repeatable."
        ),
    ):
        function = option(function)
    return function
