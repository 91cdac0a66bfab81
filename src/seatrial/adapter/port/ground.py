"""What a port stands on: one vLLM and one plugin, read as text; what is in them, what moved, which swaps are true.

In: two sources, a platform. Out: answers to `has`, `swap` and `moved`. Refuses (SeatrialError subclasses) what `compat`
refuses. A swap is true when both names are found by parsing, the vLLM is one it is meant for, and nothing is missing
that the target's module imports from vLLM or its own plugin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from seatrial.adapter.lint.engine import Places
from seatrial.adapter.port.table import Entry, read_table
from seatrial.core.collector import without_collector
from seatrial.core.record import Record
from seatrial.support.compat.check_imports import check_imports
from seatrial.support.compat.graph import Graph, broken_modules
from seatrial.support.compat.relocate import Relocations
from seatrial.support.compat.run import Opened, open_pair

MODELS = "vllm.model_executor.models"
DEFINED = re.compile(rb"^(?:class|def|async[ \t]+def)[ \t]+(\w+)", re.MULTILINE)
DEVICE_TYPE = re.compile(rb"""^[ \t]+device_type[ \t]*(?::[ \t]*\w+)?[ \t]*=[ \t]*["'](\w+)["']""", re.MULTILINE)


class Swap(Record):
    """An entry of the table that concerns a name, with what became of it. `reason` is empty when it is true."""

    entry: Entry
    reason: str = ""


class DeviceName(NamedTuple):
    """What stands for the device, and its `proof`; or the `reason` why it cannot be used."""

    expression: str
    proof: str = ""
    reason: str = ""


class Moved(Record):
    """Where a name is now. `module` is empty where nobody can say; `candidates` are then what there is."""

    module: str
    name: str
    candidates: tuple[str, ...] = ()


class Ground:
    """One vLLM, one plugin, one platform."""

    def __init__(self, engine: Path, plugin: Path, platform: str, version: str = "") -> None:
        with without_collector():
            self.opened: Opened = open_pair(engine, plugin, version)
        self.pair = self.opened.pair
        self.engine = self.pair.engine
        self.plugin = self.pair.plugin
        self.version = self.opened.version
        self.platform = platform
        self.table = read_table(platform)
        self._used: dict[str, str] | None = None
        self._graph: Graph | None = None
        self._broken: dict[str, str] = {}

    def has(self, module: str, name: str) -> bool | None:
        """Whether `from module import name` works by the text; None where a run must say; `name` "" for the module."""
        if module.split(".")[0] not in (self.engine.package.name, self.plugin.package.name):
            return None
        if not self.pair.has_module(module):
            return False
        if not name or name == "*":
            return True
        status = self.pair.lookup(module, name).status
        return {"found": True, "dynamic": None}.get(status, False)

    def swap(self, module: str, name: str) -> Swap | None:
        """The table's entry for a name imported from a module of vLLM, tried; None if it has none."""
        for entry in self.table.swap:
            if entry.name == name and any(module == s or module.startswith(f"{s}.") for s in entry.sources):
                return Swap(entry=entry, reason=self._untrue(entry))
        return None

    def device(self) -> DeviceName:
        """What the string "cuda" becomes, proven by the plugin's platform class and by this vLLM."""
        device = self.table.device
        if device is None:
            return DeviceName("", reason="the platform's table names no device")
        if self.has(device.module, device.name) is False:
            return DeviceName(device.expression, reason=f"this vLLM has no {device.module}.{device.name}")
        for name, text in self.plugin.package.texts():
            found = DEVICE_TYPE.search(text) if b"Platform" in text else None
            if found is not None:
                said, place = found.group(1).decode(), self.plugin.package.path(name)
                if said == "cuda":
                    return DeviceName(device.expression, reason=f"{place}: the platform's device is called 'cuda'")
                return DeviceName(device.expression, proof=f"{place}: device_type is {said!r}")
        return DeviceName(device.expression, reason="no platform class of the plugin says its device_type")

    def used(self, dotted: str) -> str:
        """A file of the plugin that uses `torch.npu.X` itself, which proves that there is such a thing; "" for none."""
        if self._used is None:
            spaces = b"|".join(re.escape(s.to.encode()) for s in self.table.namespace)
            pattern = re.compile(rb"(?<![\w.])(?:" + spaces + rb")\.\w+")
            self._used = {}
            for name, text in self.plugin.package.texts():
                for match in set(pattern.findall(text)) if spaces else ():
                    self._used.setdefault(match.decode(), self.plugin.package.path(name))
        return self._used.get(dotted, "")

    @cached_property
    def definitions(self) -> dict[str, list[str]]:
        """Every class and function at the top level of a module of this vLLM, with the modules that define it."""
        found: dict[str, list[str]] = {}
        for module, text in self.engine.package.texts():
            for name in DEFINED.findall(text):
                found.setdefault(name.decode(), []).append(module)
        return found

    @cached_property
    def _places(self) -> Relocations:
        return Places(self.engine.package)

    def _untrue(self, entry: Entry) -> str:
        if entry.engine and not self._meant(entry.engine):
            return f"it is for vLLM {entry.engine}; {entry.why}"
        own = self.plugin.package.name
        if entry.to.split(".")[0] != own:
            return f"{entry.to} is no module of {own}"
        wanted = entry.to_name or entry.name
        if not self.plugin.package.has(entry.to):
            return f"this {own} has no module {entry.to}"
        if self.plugin.resolve(entry.to, wanted).status != "found":
            return f"{entry.to} of this {own} has no {wanted}"
        return self._why_broken(entry.to)

    def _meant(self, specifier: str) -> bool:
        try:
            version = Version(Version(self.version).public)
        except InvalidVersion:
            return False
        return SpecifierSet(specifier).contains(version, prereleases=True)

    def _why_broken(self, module: str) -> str:
        """The first thing that keeps a plugin's module from being imported with this vLLM; "" for nothing."""
        if self._graph is None:
            self._graph = Graph(self.pair)
            hits = list(check_imports(self.pair))
            broken = broken_modules(hits)
            for hit in hits:
                if hit.module in broken and hit.when == "import" and not hit.guarded:
                    self._broken.setdefault(hit.module, f"{hit.file}:{hit.line} {hit.message}")
        for needed in sorted(self._graph.closure(module)):
            if needed in self._broken:
                return f"{module} does not import with this vLLM: {self._broken[needed]}"
        return ""

    def moved(self, module: str, name: str) -> Moved:
        """Where this vLLM has a name (or, with `name` "", a module) that it has no more at `module`.

        A move is taken only where the index has one place, or one that is plainly first: a module that keeps the old
        one's last word, or the only one that is no single model's file.
        """
        found = self._places.of_name(module, name) if name else self._places.of_module(module)
        found = tuple(f for f in found if not name or self.has(f.rpartition(".")[0], name))
        best = first_of(module, found, bool(name))
        if not best:
            return Moved(module="", name=name, candidates=found)
        return Moved(module=best.rpartition(".")[0] if name else best, name=name, candidates=found)


def first_of(old: str, found: Iterable[str], named: bool) -> str:
    """The one candidate that is plainly meant; "" where several are as good."""
    places = list(found)
    if len(places) == 1:
        return places[0]
    homes = {p: p.rpartition(".")[0] if named else p for p in places}
    kept = [p for p in places if homes[p].rpartition(".")[2] == old.rpartition(".")[2]]
    if len(kept) == 1:
        return kept[0]
    layers = [p for p in places if ".models." not in homes[p] and ".test" not in homes[p]]
    if len(layers) == 1:
        return layers[0]
    if named and layers:
        # Most of the old path in common, and nothing else has as much.
        parts = set(old.split("."))
        shared = {p: len(parts & set(homes[p].split("."))) for p in layers}
        top = max(shared.values())
        most = [p for p in layers if shared[p] == top]
        return most[0] if len(most) == 1 else ""
    return ""
