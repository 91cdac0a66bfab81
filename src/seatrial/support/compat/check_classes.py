"""Plugin classes under vLLM's base classes: methods that vLLM's calls do not fit, abstract methods left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from seatrial.core.finding import Severity
from seatrial.support.compat.callers import Caller, Callers
from seatrial.support.compat.classes import (
    BENIGN,
    Ancestry,
    ClassRef,
    abstract_methods,
    instance_attributes,
    members,
)
from seatrial.support.compat.pair import Pair
from seatrial.support.compat.records import Hit
from seatrial.support.compat.signature import Signature, has_decorator, is_plain, misfits, signature
from seatrial.support.compat.walk import Site

Function = (ast.FunctionDef, ast.AsyncFunctionDef)
NO_CATCHERS: frozenset[str] = frozenset()


class Override(NamedTuple):
    """A plugin's method over one of the engine's that takes other arguments."""

    ref: ClassRef
    ancestry: Ancestry
    site: Site
    method: str
    mine: Signature
    theirs: Signature
    base: ClassRef


def check_classes(pair: Pair) -> Iterator[Hit]:
    """K007 and K008."""
    under: list[tuple[ClassRef, Ancestry, Site]] = []
    for name, sites in pair.sites.items():
        for site in sites.classes:
            if isinstance(site.node, ast.ClassDef) and not site.context.lazy:
                ref = ClassRef(pair.plugin, name, site.node)
                ancestry = pair.classes.ancestry(ref)
                if any(item.names is pair.engine for item in ancestry.classes):
                    under.append((ref, ancestry, site))
    parents = {item.path for _ref, ancestry, _site in under for item in ancestry.classes[1:]}
    for ref, ancestry, site in under:
        if ref.path not in parents:
            yield from _abstract(pair, ref, ancestry, site)
    suspects = [o for ref, ancestry, site in under for o in _overrides(pair, ref, ancestry, site)]
    callers = Callers(pair.engine)
    callers.prepare({o.method for o in suspects})
    replaced = _replaced_callers(under)
    for override in suspects:
        yield from _judge(pair, override, callers, replaced)


def _replaced_callers(under: list[tuple[ClassRef, Ancestry, Site]]) -> set[tuple[str, str, str]]:
    """Engine methods (module, class, method) that some plugin class overrides: their callers may never run."""
    found: set[tuple[str, str, str]] = set()
    for ref, ancestry, _site in under:
        for item in ancestry.classes[1:]:
            found.update((item.module, item.node.name, method) for method in members(ref.node))
    return found


def _overrides(pair: Pair, ref: ClassRef, ancestry: Ancestry, site: Site) -> Iterator[Override]:
    for method, function in members(ref.node).items():
        if method.startswith("__") or not isinstance(function, Function) or not is_plain(function):
            continue
        for item in ancestry.classes[1:]:
            base = members(item.node).get(method)
            if base is None:
                continue
            if item.names is pair.engine and isinstance(base, Function) and is_plain(base):
                bound = not has_decorator(function, "staticmethod")
                base_bound = not has_decorator(base, "staticmethod")
                mine, theirs = signature(function, bound=bound), signature(base, bound=base_bound)
                pair.overrides_checked += 1
                if mine != theirs:
                    place = Site(function, site.context)
                    yield Override(ref, ancestry, place, method, mine, theirs, item)
            break


def _judge(pair: Pair, override: Override, callers: Callers, replaced: set[tuple[str, str, str]]) -> Iterator[Hit]:
    """A call of the engine that fits its own method and not the plugin's."""
    family = {(item.module, item.node.name) for item in override.ancestry.classes}
    alone = all(definer in family for definer in callers.definers(override.method))
    for caller in callers.of(override.method):
        if (caller.module, caller.cls, caller.function) in replaced or not _reaches(caller, override, family, alone):
            continue
        if misfits(override.theirs, caller.call, ""):
            continue  # not a call of this method
        bad = misfits(override.mine, caller.call, f"{override.ref.node.name}.{override.method}")
        if bad:
            base = f"{override.base.path}.{override.method}"
            where = f"{pair.engine.package.path(caller.module)}:{caller.call.lineno}"
            message = f"{bad[0].message}: vLLM calls it so at {where}, as {base} allows"
            # Whether that caller ever runs with the plugin's class the text cannot say, but for platform hooks.
            certain = caller.receiver == "current_platform"
            severity = Severity.ERROR if certain else Severity.WARNING
            hit = pair.hit("K007", override.site, override.ref.module, base, message, NO_CATCHERS, severity)
            yield hit.but(when="use")
            return


def _reaches(caller: Caller, override: Override, family: set[tuple[str, str]], alone: bool) -> bool:
    if caller.receiver in ("self", "cls"):
        return (caller.module, caller.cls) in family
    if caller.receiver == "current_platform":
        return any(item.path == "vllm.platforms.interface.Platform" for item in override.ancestry.classes)
    return alone and not caller.receiver.startswith("super(")


def _abstract(pair: Pair, ref: ClassRef, ancestry: Ancestry, site: Site) -> Iterator[Hit]:
    bases = [ast.unparse(b).split(".")[-1] for item in ancestry.classes for b in item.node.bases]
    metas = [ast.unparse(k.value) for item in ancestry.classes for k in item.node.keywords if k.arg == "metaclass"]
    enforced = "ABC" in bases or any("ABCMeta" in m for m in metas)
    if not enforced or abstract_methods(ref.node) or set(ancestry.unseen) - BENIGN:
        return
    for item in ancestry.classes:
        if item.names is not pair.engine:
            continue
        for method in sorted(abstract_methods(item.node)):
            function = members(item.node)[method]
            if _implemented(pair, ref, ancestry, method):
                continue
            # Backends are used as classes and never made: a static or class method left out breaks only who calls it.
            # So is a class that only holds static methods (a chooser of other classes, as vLLM has them).
            only_class = _only_of_class(function) or all(_only_of_class(m) for m in members(ref.node).values())
            symbol = f"{item.path}.{method}"
            message = f"{ref.node.name} leaves out {method!r}, abstract in {item.path}: it cannot be instantiated"
            severity = Severity.INFO if only_class else Severity.ERROR
            hit = pair.hit("K008", site, ref.module, symbol, message, NO_CATCHERS, severity)
            yield hit.but(when="use")


def _only_of_class(member: ast.AST) -> bool:
    """A static or class method, or a plain assignment: nothing that needs an instance."""
    decorated = has_decorator(member, "staticmethod") or has_decorator(member, "classmethod")
    return decorated or not isinstance(member, Function)


def _implemented(pair: Pair, ref: ClassRef, ancestry: Ancestry, method: str) -> bool:
    for item in ancestry.classes:
        found = members(item.node).get(method)
        if found is not None and not has_decorator(found, "abstractmethod"):
            return True
        if method in set(instance_attributes(item.node)) or (item.path, method) in pair.provided:
            return True
    return False
