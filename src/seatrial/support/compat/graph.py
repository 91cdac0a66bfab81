"""Which modules of a plugin its entry points can lead to on this engine, and which of them cannot be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from seatrial.core.finding import Severity
from seatrial.support.compat.pair import Pair
from seatrial.support.compat.records import Hit
from seatrial.support.compat.walk import IMPORT_ERRORS, Site
from seatrial.support.modules import absolute
from seatrial.support.registry_records import Registered
from seatrial.support.source import Distribution


class Graph:
    """Import edges between the plugin's modules, on branches that can run on this engine."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.loads: dict[str, set[str]] = {}  # what importing the module imports, with nothing to catch an error
        self.leads: dict[str, set[str]] = {}  # all it may import at any time, or name in a string
        for name, sites in pair.sites.items():
            self.loads[name] = set(self._parents(name))
            self.leads[name] = set(self._parents(name))
            for site in sites.imports:
                targets = self._targets(name, site)
                self.leads[name] |= targets
                if not site.context.lazy and not site.context.caught & IMPORT_ERRORS:
                    self.loads[name] |= targets
            for site in sites.strings:
                if isinstance(site.node, ast.Constant):
                    self.leads[name] |= self._named(str(site.node.value))
        for hooked, replacement in pair.replaced.items():
            self.leads.setdefault(hooked, set()).add(replacement)

    def _parents(self, dotted: str) -> list[str]:
        parts = dotted.split(".")
        return [".".join(parts[:n]) for n in range(1, len(parts))]

    def _targets(self, name: str, site: Site) -> set[str]:
        """Plugin modules that one import statement loads."""
        node = site.node
        found: set[str] = set()
        has = self._pair.plugin.package.has
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(self._pair.module(name), node)
            wanted = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            return found
        for dotted in (self._pair.replaced.get(name, name) for name in wanted):
            if dotted.split(".")[0] == self._pair.own and has(dotted):
                found |= {dotted, *self._parents(dotted)}
        return found

    def _named(self, text: str) -> set[str]:
        """Modules that a string such as `pkg.mod.Class` or `pkg.mod:Class` names."""
        dotted = text.replace(":", ".").strip()
        while dotted and not self._pair.plugin.package.has(dotted):
            dotted = dotted.rpartition(".")[0]
        return {dotted, *self._parents(dotted)} if dotted else set()

    def reached(self, distribution: Distribution, registered: Iterable[Registered]) -> set[str]:
        """Modules that the entry points and the registered classes can lead to."""
        todo = [p.target.partition(":")[0].strip() for p in distribution.entry_points]
        todo += [entry.module for entry in registered]
        todo += list(self._pair.replaced.values())
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(self.leads.get(name, ()))
                todo.extend(self._parents(name))
        return seen

    def closure(self, module: str) -> set[str]:
        """All plugin modules that importing `module` imports."""
        seen: set[str] = set()
        todo = [module]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(self.loads.get(name, ()))
        return seen


def broken_modules(hits: Iterable[Hit]) -> set[str]:
    """Modules that cannot be imported by their own fault: an uncaught error as they run."""
    codes = {"K001", "K002", "K003", "K004", "K005", "K006", "K012", "K013", "K014"}
    return {
        h.module
        for h in hits
        if h.when == "import" and h.code in codes and h.severity is Severity.ERROR and not h.guarded
    }


def functions_called(pair: Pair, module: str, function: str, limit: int = 200) -> set[tuple[str, str]]:
    """Functions of the plugin that calling `function` calls, by name, as far as plain names and imports show."""
    seen: set[tuple[str, str]] = set()
    todo = [(module, function)]
    while todo and len(seen) < limit:
        key = todo.pop()
        if key in seen or key[0] not in pair.sites:
            continue
        seen.add(key)
        for site in pair.sites[key[0]].calls:
            call = site.node
            if site.context.function != key[1] or not isinstance(call, ast.Call):
                continue
            if isinstance(call.func, ast.Name):
                bound = site.context.names.get(call.func.id)
                if bound is None:
                    todo.append((key[0], call.func.id))
                elif bound.module.split(".")[0] == pair.own and bound.name:
                    found = pair.plugin.resolve(bound.module, bound.name)
                    if found.status == "found" and found.name:
                        todo.append((found.module, found.name))
    return seen
