"""One plugin beside one engine: the two packages, what the plugin puts into the engine, and every module's sites."""

from __future__ import annotations

import ast
from typing import NamedTuple

from seatrial.core.finding import Severity
from seatrial.support.compat.classes import Classes, ClassRef
from seatrial.support.compat.names import Names, Resolution
from seatrial.support.compat.records import Hit
from seatrial.support.compat.truth import Truth
from seatrial.support.compat.walk import CALL_ERRORS, IMPORT_ERRORS, Bound, Context, Site, Sites, Walk
from seatrial.support.modules import Module, Package, absolute


class Place(NamedTuple):
    """What an expression names: a module (`name` empty), a class, a function, or something undecided."""

    resolution: Resolution
    owner: ClassRef | None = None


class JudgedCall(NamedTuple):
    """A call that was compared with a signature; `bound` means that self was left out. For the bench's oracle."""

    file: str
    line: int
    what: str
    call: ast.Call
    bound: bool
    fits: bool


class Pair:
    """Everything the checks share."""

    def __init__(self, engine: Package, engine_version: str, plugin: Package, built: set[str]) -> None:
        self.engine, self.plugin = Names(engine), Names(plugin, built)
        self.truth = Truth(self.engine, engine_version, plugin)
        self.classes = Classes(self.engine, self.plugin)
        self.top = engine.name
        self.own = plugin.name
        self.names_checked = self.names_undecided = self.calls_checked = self.calls_undecided = 0
        self.overrides_checked = 0
        # What the plugin itself puts in place: replaced modules, and names set on engine modules or classes.
        self.replaced: dict[str, str] = {}
        self.provided: set[tuple[str, str]] = set()
        self.sites: dict[str, Sites] = {}
        self._again: list[Module] = []
        self.judged: list[JudgedCall] = []

    def read(self) -> None:
        """Walk every module of the plugin. Call after `replaced` is filled."""
        for name in self.plugin.package.names():
            module = self.plugin.package.get(name)
            if module is not None and module.tree is not None:
                walk = Walk(module, self.truth, self.import_fails)
                self.sites[name] = walk.sites
                if walk.took_other_road:
                    self._again.append(module)

    def read_again(self) -> None:
        """Once `provided` is known: modules where an import seemed to fail may have it answered by a patch."""
        for module in self._again:
            self.sites[module.name] = Walk(module, self.truth, self.import_fails).sites

    def module(self, name: str) -> Module:
        module = self.plugin.package.get(name)
        if module is None:
            raise KeyError(name)
        return module

    def lookup(self, module: str, name: str) -> Resolution:
        """`from module import name` as the plugin's processes see it, its own replacements included."""
        if (module, name) in self.provided:
            return Resolution("dynamic", module, name)
        if module in self.replaced:
            return self.classes.resolve(self.replaced[module], name)
        if module.split(".")[0] not in (self.top, self.own):
            return Resolution("dynamic", module, name)
        return self.classes.resolve(module, name)

    def has_module(self, dotted: str) -> bool:
        if dotted in self.replaced:
            return True
        side = self.engine if dotted.split(".")[0] == self.top else self.plugin
        return side.has_module(dotted)

    def concerns(self, dotted: str) -> bool:
        return dotted.split(".")[0] in (self.top, self.own)

    def import_fails(self, module: Module, node: ast.stmt) -> bool:
        """Whether an import statement names something of engine or plugin that is not there."""
        return bool(self.missing(module, node))

    def missing(self, module: Module, node: ast.stmt) -> list[tuple[str, str]]:
        """(module, name) pairs an import statement asks for in vain; the name is empty for a module not there."""
        out: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            for alias in node.names:
                if self.concerns(alias.name) and not self.has_module(alias.name):
                    out.append((alias.name, ""))
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            if not base or not self.concerns(base):
                return []
            if not self.has_module(base):
                return [(base, "")]
            for alias in node.names:
                if alias.name != "*" and self.lookup(base, alias.name).status in ("missing", "no-module"):
                    out.append((base, alias.name))
        return out

    def place(self, node: ast.expr, context: Context, module: str) -> Place | None:
        """What an expression names, by the imports in sight; None if it is nothing of engine or plugin."""
        if isinstance(node, ast.Name):
            bound = context.names.get(node.id)
            return self._bound(bound) if bound is not None else None
        if not isinstance(node, ast.Attribute):
            return None
        base = self.place(node.value, context, module)
        if base is None:
            return None
        found = base.resolution
        if found.status == "found" and not found.name:
            if found.module.split(".")[0] not in (self.top, self.own):
                return None
            return Place(self.lookup(found.module, node.attr))
        if isinstance(found.node, ast.ClassDef):
            ref = self.classes.find(found.module, found.name)
            if ref is not None:
                return Place(self.member(ref, node.attr), ref)
        return None

    def _bound(self, bound: Bound) -> Place | None:
        if not self.concerns(bound.module):
            return None
        if not bound.name:
            return Place(Resolution("found" if self.has_module(bound.module) else "no-module", bound.module, ""))
        return Place(self.lookup(bound.module, bound.name))

    def member(self, ref: ClassRef, name: str) -> Resolution:
        """An attribute of a class, through its ancestors."""
        from seatrial.support.compat.classes import instance_attributes, members

        ancestry = self.classes.ancestry(ref)
        for item in ancestry.classes:
            if (item.path, name) in self.provided:
                return Resolution("dynamic", item.module, name)
            found = members(item.node).get(name)
            if found is not None:
                return Resolution("found", item.module, f"{item.node.name}.{name}", found)
            if name in set(instance_attributes(item.node)):
                return Resolution("found", item.module, f"{item.node.name}.{name}")
        if name.startswith("__") or not ancestry.complete:
            return Resolution("dynamic", ref.module, name)
        return Resolution("missing", ref.module, f"{ref.node.name}.{name}")

    def hit(
        self,
        code: str,
        site: Site,
        module: str,
        symbol: str,
        message: str,
        catchers: frozenset[str] | set[str],
        severity: Severity = Severity.ERROR,
    ) -> Hit:
        """A hit at a site; `reached`, `moved_to` and `architectures` are filled in later."""
        return Hit(
            code=code,
            severity=severity,
            file=self.plugin.package.path(module),
            line=site.line,
            module=module,
            function=site.context.function,
            symbol=symbol,
            message=message,
            when="use" if site.context.lazy else "import",
            guarded=bool(site.context.caught & catchers),
            reached=True,
        )


IMPORT_CATCHERS = frozenset(IMPORT_ERRORS)
CALL_CATCHERS = frozenset(CALL_ERRORS)
