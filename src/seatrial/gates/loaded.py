"""Which sources an engine's processes really run, read from their memory maps: the folders of mapped native modules.

In: pids. Out: package name to the folders it was mapped from. A package without a native module leaves no trace there,
so an absence says nothing; a folder that is not the target's says much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.targets import Roots

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


def about_sources(packages: Iterable[LoadedPackage], roots: Roots) -> list[Finding]:
    """G303 for a package that is mapped from somewhere else than the target's root for it."""
    found = []
    for package in packages:
        root = roots.vllm if package.name == "vllm" else roots.plugin
        if root and not Path(package.folder).is_relative_to(root):
            found.append(
                Finding(
                    code="G303",
                    severity=Severity.WARNING,
                    place=package.folder,
                    message=f"{package.name} runs from here, not from the target's {root}",
                    next_step="Install the tree you edit into this interpreter, or set the target's roots.",
                )
            )
    return found
