"""Every import the plugin makes of vLLM and of itself, and every attribute it reads of vLLM's modules and classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.support.compat.pair import IMPORT_CATCHERS, Pair
from seatrial.support.compat.records import Hit
from seatrial.support.compat.walk import ATTRIBUTE_ERRORS, Site
from seatrial.support.modules import absolute


def check_imports(pair: Pair) -> Iterator[Hit]:
    """K001 and K002 for vLLM's names, K013 for the plugin's own."""
    for name, sites in pair.sites.items():
        module = pair.module(name)
        for site in sites.imports:
            if not isinstance(site.node, (ast.Import, ast.ImportFrom)):
                continue
            _count(
                pair,
                site.node,
                absolute(module, site.node) if isinstance(site.node, ast.ImportFrom) else "",
            )
            for missing_module, missing_name in pair.missing(module, site.node):
                symbol = f"{missing_module}.{missing_name}" if missing_name else missing_module
                own = missing_module.split(".")[0] == pair.own
                whose = pair.own if own else "vLLM"
                message = (
                    f"{missing_module} has no {missing_name!r}"
                    if missing_name
                    else f"{whose} has no module {missing_module}"
                )
                code = "K013" if own else "K002" if missing_name else "K001"
                yield pair.hit(code, site, name, symbol, message, IMPORT_CATCHERS)
        for site in sites.calls:
            asked = _imported_by_name(site.node)
            if asked and pair.concerns(asked) and not pair.has_module(asked):
                own = asked.split(".")[0] == pair.own
                message = f"{pair.own if own else 'vLLM'} has no module {asked}"
                yield pair.hit("K013" if own else "K001", site, name, asked, message, IMPORT_CATCHERS)


def check_raises(pair: Pair) -> Iterator[Hit]:
    """K014: a module that raises by itself as it is imported on this engine, as one does that asks for another vLLM."""
    for name, sites in pair.sites.items():
        for site in sites.raises:
            message = f"the module raises as it is imported: {ast.unparse(site.node)[:120]}"
            yield pair.hit("K014", site, name, name, message, frozenset())


def _imported_by_name(call: ast.AST) -> str:
    """The module that `importlib.import_module("a.b")` names; empty if it is no such call."""
    if not (isinstance(call, ast.Call) and len(call.args) == 1 and isinstance(call.args[0], ast.Constant)):
        return ""
    name = call.args[0].value
    by_name = ast.unparse(call.func) in ("importlib.import_module", "import_module")
    return name if by_name and isinstance(name, str) and not name.startswith(".") else ""


def _count(pair: Pair, node: ast.Import | ast.ImportFrom, base: str) -> None:
    if isinstance(node, ast.Import):
        pair.names_checked += sum(alias.name.split(".")[0] == pair.top for alias in node.names)
    elif base.split(".")[0] == pair.top:
        pair.names_checked += len(node.names)
        for alias in node.names:
            if pair.has_module(base) and pair.lookup(base, alias.name).status == "dynamic":
                pair.names_undecided += 1


def check_attributes(pair: Pair) -> Iterator[Hit]:
    """K003: `module.name` and `Class.name` of vLLM that are not there."""
    for name, sites in pair.sites.items():
        seen: set[tuple[int, str]] = set()
        for site in sites.attributes:
            hit = _attribute(pair, name, site)
            if hit is not None and (hit.line, hit.symbol) not in seen:
                seen.add((hit.line, hit.symbol))
                yield hit


def _attribute(pair: Pair, name: str, site: Site) -> Hit | None:
    node = site.node
    if not isinstance(node, ast.Attribute):
        return None
    place = pair.place(node, site.context, name)
    if place is None or place.resolution.status not in ("missing", "no-module"):
        return None
    found = place.resolution
    if found.module.split(".")[0] != pair.top:
        return None
    base = pair.place(node.value, site.context, name)
    if base is None or base.resolution.status != "found":
        return None  # the base itself is missing and reported where it is imported
    symbol = f"{found.module}.{found.name}"
    owner = place.owner.path if place.owner is not None else found.module
    return pair.hit("K003", site, name, symbol, f"{owner} has no attribute {node.attr!r}", frozenset(ATTRIBUTE_ERRORS))
