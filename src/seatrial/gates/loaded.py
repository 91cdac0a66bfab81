"""Which sources an engine's processes really run, read from their memory maps: the folders of mapped native modules.

In: pids. Out: package name to the folders it was mapped from. A package without a native module leaves no trace there,
so an absence says nothing; a folder that is not the target's says much. `source_memory` sees the Python files too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.gates.source_memory import MemoryRead
from seatrial.targets import Roots

FEW = 3  # files of one folder in a memory; fewer may be a name that was only spoken of
MAPPED = re.compile(r"\s(/.*/(vllm(?:_[a-z]+)?))/(?:[^/]+/)*[^/]+\.so[.\d]*$")


class LoadedPackage(Record):
    """A package of the engine or a plugin, the folder its native modules are mapped from, and in how many processes."""

    name: str
    folder: str
    processes: int


def loaded_packages(pids: Iterable[int]) -> tuple[LoadedPackage, ...]:
    """What the processes have mapped now; those that ended or are not ours are passed over."""
    seen: dict[tuple[str, str], int] = {}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        except OSError:
            continue
        for key in {(m.group(2), m.group(1)) for line in lines if (m := MAPPED.search(line))}:
            seen[key] = seen.get(key, 0) + 1
    return tuple(LoadedPackage(name=n, folder=f, processes=c) for (n, f), c in sorted(seen.items()))


def about_sources(packages: Iterable[LoadedPackage], memory: MemoryRead, roots: Roots) -> list[Finding]:
    """G303 for a package that runs from somewhere else than the target's root for it, by maps or by a worker's memory;
    G304 for two copies of one package in a worker; G305 where the target names a root and no worker could be read.
    """
    found = []
    counted = [s for s in memory.seen if s.files >= FEW]
    places = {(p.name, p.folder): "mapped" for p in packages} | {(s.name, s.folder): "in a worker" for s in counted}
    for (name, folder), how in places.items():
        root = roots.vllm if name == "vllm" else roots.plugin
        if root and not Path(folder).resolve().is_relative_to(Path(root).resolve()):
            found.append(
                Finding(
                    code="G303",
                    severity=Severity.WARNING,
                    place=folder,
                    message=f"{name} runs from here ({how}), not from the target's {root}",
                    next_step="Install the tree you edit into this interpreter, or set the target's roots.",
                )
            )
    copies: dict[tuple[str, int], set[str]] = {}
    for one in counted:
        copies.setdefault((one.name, one.pid), set()).add(one.folder)
    for (name, pid), folders in copies.items():
        if len(folders) > 1:
            found.append(
                Finding(
                    code="G304",
                    severity=Severity.WARNING,
                    place=f"process {pid}",
                    message=f"{name} was loaded from {len(folders)} folders: {', '.join(sorted(folders))}",
                    next_step="Uninstall one of them, or take it off the path.",
                )
            )
    if not memory.seen and (roots.vllm or roots.plugin):
        found.append(
            Finding(
                code="G305",
                severity=Severity.WARNING,
                place="workers",
                message=f"which sources the workers run is not proven: {memory.refused}",
                next_step="Let seatrial trace its own child processes (ptrace scope, container rights).",
            )
        )
    return found
