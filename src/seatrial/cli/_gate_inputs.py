"""What `serve start`, `gate`, `features`, `capacity`, `soak` take in common: a checkpoint's folder, a folder to keep.

Refused (UsageError) before anything is started: what is no folder, what cannot be made one, an interpreter that nobody
can run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from seatrial.core.errors import UsageError


class Place(click.Path):
    """A path; the empty text, which would be the working directory, is none."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the empty text names no path.", param, ctx)
        return super().convert(value, param, ctx)


def demand_checkpoint(checkpoint: Path) -> None:
    """Raise UsageError if it is no folder that can be looked into."""
    try:
        is_folder = checkpoint.is_dir()
        if is_folder:
            next(checkpoint.iterdir(), None)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise UsageError(f"the checkpoint {str(checkpoint)!r} cannot be read: {why}", mend="Name another one.") from exc
    if not is_folder:
        raise UsageError(f"the checkpoint {checkpoint} is not a folder", mend="Name a checkpoint's folder.")


def demand_program(python: Path) -> None:
    """Raise UsageError if it is no file that can be executed."""
    if not python.is_file() or not os.access(python, os.X_OK):
        raise UsageError(f"--python {python} is no program that can be run", mend="Name the engine's interpreter.")


def kept_in(keep: Path | None, command: str) -> Path:
    """The folder for logs and answers, made: the user's, or a new one below the temporary folder."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix=f"seatrial-{command}-"))
    try:
        keep.mkdir(parents=True, exist_ok=True)
        usable = os.access(keep, os.W_OK | os.X_OK)
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise UsageError(f"--out {str(keep)!r} cannot be made a folder: {why}", mend="Name another one.") from exc
    if not usable:
        raise UsageError(f"--out {keep} cannot be written to", mend="Name another folder.")
    return keep
