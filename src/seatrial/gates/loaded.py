"""Which sources an engine's processes really run, read from their memory maps: the folders of mapped native modules.

In: pids. Out: package name to the folders it was mapped from. A package without a native module leaves no trace there,
so an absence says nothing; a folder that is not the target's says much. `source_memory` sees the Python files too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.gates.source_memory import MemoryRead, SourceSeen
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


def about_sources(
    packages: Iterable[LoadedPackage], memory: MemoryRead, roots: Roots, plugins: Sequence[str] = ()
) -> list[Finding]:
    """G303 for a package that runs from somewhere else than the target's root for it, by maps or by a worker's memory;
    G304 for two copies of one package in a worker; G305 for each root of the target that no worker, or not every one,
    was seen to run anything for. `plugins` are the packages that `roots.plugin` may hold.
    """
    found = []
    counted = [s for s in memory.seen if s.files >= FEW]
    places = {(p.name, p.folder): "mapped" for p in packages} | {(s.name, s.folder): "in a worker" for s in counted}
    for (name, folder), how in places.items():
        root = roots.vllm if name == "vllm" else roots.plugin if name in (plugins or (name,)) else ""
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
    if roots.vllm:
        found.extend(_unproven(memory, counted, "roots.vllm", roots.vllm, ("vllm",)))
    if roots.plugin:
        found.extend(_unproven(memory, counted, "roots.plugin", roots.plugin, plugins))
    return found


def doubt(findings: Iterable[Finding]) -> str:
    """Why a server that serves does not prove the target's sources: not seen, or others were; "" if proven."""
    return "; ".join(f.message for f in findings if f.code in ("G303", "G305"))


def _unproven(
    memory: MemoryRead, counted: Sequence[SourceSeen], key: str, root: str, names: Sequence[str]
) -> list[Finding]:
    """Which workers were not seen to run any package of a root. A package seen elsewhere is G303's business."""
    what = " or ".join(names) if names else f"the package of {root}"
    workers = memory.looked_at or tuple(sorted({s.pid for s in memory.seen}))
    running = {s.pid for s in counted if (s.name in names if names else s.name != "vllm")}
    without = [pid for pid in workers if pid not in running]
    if workers and not without:
        return []
    if not memory.seen:
        why = memory.refused or "no worker was looked at"
        next_step = "Let seatrial trace its own child processes (ptrace scope, container rights)."
    else:
        who = "no worker" if not running else f"not every worker ({len(running)} of {len(workers)})"
        why = f"{who} names {FEW} files of {what} in the {memory.read_bytes >> 20} MiB looked through"
        why += f"; {memory.refused}" if memory.refused else ""
        next_step = f"See in the log whether {what} was loaded; empty {key} if the target is not to prove it."
    message = f"that the workers run {what} from {root} is not proven: {why}"
    return [Finding(code="G305", severity=Severity.WARNING, place=key, message=message, next_step=next_step)]
