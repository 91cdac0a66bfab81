"""Which Python sources an engine's worker really runs, read from the worker's own memory.

In: pids of a running server. Out: for each package of the engine, the folder its modules were loaded from, by the file
names that the interpreter of the worker holds (every code object names its file). Nothing is put into the process, no
hook, variable or plugin: it is the server under test, unchanged. What it proves: the worker's memory holds the names of
so many source files of that folder, all of which exist. What it does not: that no other copy was loaded beside it, for
which the second folder would show, or that a file was not changed since it was read.

Bounded: only private writable memory, no region above LARGEST (a KV cache), at most BUDGET bytes a process, and no more
than is needed. Reading takes the right to trace a process of one's own; where the kernel refuses it, `refused` says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from seatrial.core.record import Record
from seatrial.targets import Target

LARGEST = 64 << 20
BUDGET = 384 << 20
CHUNK = 4 << 20
OVERLAP = 4096
ENOUGH = 24  # files of a package; one could be a coincidence, these are not
MOST_WORKERS = 16
# A text of CPython is followed by a zero byte.
SOURCE = re.compile(rb"/(vllm(?:_[a-z]+)?)/((?:\w+/)*\w+\.py)(?=\0)")
PLUGIN = re.compile(r"vllm_[a-z]+")
PRINTABLE = re.compile(rb"[\x20-\x7e]*\Z")
REGION = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw\S*p \S+ \S+ \d+ *(.*)$")


def plugin_packages(target: Target) -> tuple[str, ...]:
    """The plugin's package: by platform, else those that lie in the target's root for it."""
    known = {"ascend": "vllm_ascend", "kunlun": "vllm_kunlun"}.get(target.platform)
    if known or not target.roots.plugin:
        return (known,) if known else ()
    root = Path(target.roots.plugin)
    try:
        beside = [root, *sorted(root.iterdir())]
    except OSError:
        return ()
    return tuple(f.name for f in beside if PLUGIN.fullmatch(f.name) and (f / "__init__.py").is_file())


def packages_of(target: Target) -> tuple[str, ...]:
    """The packages a worker of this target is expected to run."""
    return ("vllm", *plugin_packages(target))


class SourceSeen(Record):
    """`files` of package `name` below `folder` are named in the memory of `process` (its title) with this pid."""

    name: str
    folder: str
    files: int
    pid: int
    process: str


class MemoryRead(Record):
    """`refused` is why a worker could not be read, "" if all could; `read_bytes` is what was looked through, in the
    processes `looked_at`.
    """

    seen: tuple[SourceSeen, ...] = ()
    refused: str = ""
    read_bytes: int = 0
    looked_at: tuple[int, ...] = ()


def read_sources(pids: Iterable[int], wanted: tuple[str, ...] = ("vllm",)) -> MemoryRead:
    """Look into the workers among `pids` (without one: the engine's core) until each `wanted` package is sure."""
    titles = {pid: _title(pid) for pid in pids}
    chosen: list[int] = []
    for word in ("VLLM::Worker", "Worker", "VLLM::EngineCore", "EngineCore", ""):
        chosen = chosen or [pid for pid, title in titles.items() if title and word in title]
    if not chosen:
        return MemoryRead(refused="no process of the server could be seen")
    seen: list[SourceSeen] = []
    refused = ""
    total = 0
    for pid in chosen[:MOST_WORKERS]:
        work = _Reading(pid, wanted)
        try:
            work.run()
        except OSError as exc:
            refused = f"the memory of process {pid} cannot be read: {exc.strerror or exc}"
        total += work.read_bytes
        for (name, folder), files in sorted(work.files.items()):
            seen.append(SourceSeen(name=name, folder=folder, files=len(files), pid=pid, process=titles[pid]))
    if not seen and not refused:
        refused = "no name of a source file was found in the memory that was looked through"
    return MemoryRead(seen=tuple(seen), refused=refused, read_bytes=total, looked_at=tuple(chosen[:MOST_WORKERS]))


class _Reading:
    """One process."""

    def __init__(self, pid: int, wanted: tuple[str, ...]) -> None:
        self.pid, self.wanted = pid, wanted
        self.files: dict[tuple[str, str], set[str]] = {}
        self.read_bytes = 0
        self._checked: dict[str, bool] = {}

    def run(self) -> None:
        regions = []
        for line in Path(f"/proc/{self.pid}/maps").read_text(errors="replace").splitlines():
            match = REGION.match(line)
            if match and (match[3] in ("", "[heap]") or match[3].startswith("[anon:")):
                start, end = int(match[1], 16), int(match[2], 16)
                # Where the interpreter keeps its objects comes first: the heap, then its arenas, the smaller first.
                regions.append((match[3] != "[heap]", end - start, start, end))
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for is_other, size, start, end in sorted(regions):
                if is_other and size > LARGEST:
                    continue
                at = start
                while at < end:
                    if self._sure() or self.read_bytes > BUDGET:
                        return
                    at = self._piece(memory, at, end)
        finally:
            os.close(memory)

    def _piece(self, memory: int, at: int, end: int) -> int:
        length = min(CHUNK, end - at)
        try:
            data = os.pread(memory, length, at)
        except OSError as exc:
            if exc.errno in (13, 1):  # EACCES, EPERM: the kernel's rule for the whole process
                raise
            return end  # a guard page, or gone meanwhile
        self.read_bytes += len(data)
        for match in SOURCE.finditer(data):
            self._note(data[max(0, match.start() - 1024) : match.start()], match[1].decode(), match[2].decode())
        return at + length if at + length >= end or length <= OVERLAP else at + length - OVERLAP

    def _note(self, before: bytes, name: str, rest: str) -> None:
        run = PRINTABLE.search(before)
        text = run[0].decode("ascii") if run else ""
        # The bytes before a text are its header, which may be printable by chance: the first slash need not be its own.
        for place in (i for i, c in enumerate(text) if c == "/"):
            folder = f"{text[place:]}/{name}"
            if self._is_file(f"{folder}/{rest}"):
                self.files.setdefault((name, folder), set()).add(rest)
                return
        if text == "" and self._is_file(f"/{name}/{rest}"):
            self.files.setdefault((name, f"/{name}"), set()).add(rest)

    def _is_file(self, path: str) -> bool:
        if path not in self._checked:
            self._checked[path] = len(self._checked) < 20000 and os.path.isfile(path)  # noqa: PTH113
        return self._checked[path]

    def _sure(self) -> bool:
        return all(any(n == name and len(f) >= ENOUGH for (n, _), f in self.files.items()) for name in self.wanted)


def _title(pid: int) -> str:
    """What the process calls itself; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:120]
    except OSError:
        return ""
