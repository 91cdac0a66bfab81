"""Calls from the plugin to functions, constructors and base methods of vLLM, against their parameters there."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.support.compat.classes import ClassRef, members
from seatrial.support.compat.pair import CALL_CATCHERS, JudgedCall, Pair
from seatrial.support.compat.records import Hit
from seatrial.support.compat.signature import Signature, has_decorator, is_plain, misfits, signature
from seatrial.support.compat.walk import Site

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def check_calls(pair: Pair) -> Iterator[Hit]:
    """K003 to K006."""
    for name, sites in pair.sites.items():
        for site in sites.calls:
            if isinstance(site.node, ast.Call):
                yield from _call(pair, name, site, site.node)


def _call(pair: Pair, name: str, site: Site, call: ast.Call) -> Iterator[Hit]:
    above = _super_method(call)
    if above is not None:
        yield from _super_call(pair, name, site, call, above)
        return
    place = pair.place(call.func, site.context, name)
    if place is None or place.resolution.status != "found" or place.resolution.module.split(".")[0] != pair.top:
        return
    found = place.resolution
    sign: Signature | None = None
    if isinstance(found.node, ast.ClassDef):
        ref = pair.classes.find(found.module, found.name)
        sign = pair.classes.constructor(ref) if ref is not None else None
    elif isinstance(found.node, Function):
        if is_plain(found.node) and not has_decorator(found.node, "cached_property"):
            # Class.method(...) is unbound unless it is a class method.
            bound = place.owner is not None and has_decorator(found.node, "classmethod")
            sign = signature(found.node, bound=bound)
    else:
        return
    yield from _judge(pair, name, site, call, sign, f"{found.module}.{found.name}", bound=False)


def _judge(
    pair: Pair, name: str, site: Site, call: ast.Call, sign: Signature | None, what: str, *, bound: bool
) -> Iterator[Hit]:
    if sign is None:
        pair.calls_undecided += 1
        return
    pair.calls_checked += 1
    bad = misfits(sign, call, what)
    pair.judged.append(JudgedCall(pair.plugin.package.path(name), site.line, what, call, bound, not bad))
    for misfit in bad:
        yield pair.hit(misfit.code, site, name, what, misfit.message, CALL_CATCHERS)


def _super_method(call: ast.Call) -> str | None:
    """The method's name in `super().method(...)`."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call):
        inner = function.value
        if isinstance(inner.func, ast.Name) and inner.func.id == "super" and not inner.args:
            return function.attr
    return None


def _super_call(pair: Pair, name: str, site: Site, call: ast.Call, method: str) -> Iterator[Hit]:
    node = site.context.cls
    if node is None:
        return
    ref = ClassRef(pair.plugin, name, node)
    ancestry = pair.classes.ancestry(ref)
    if len(ref.node.bases) != 1:
        # With several bases the next class depends on who inherits from this one.
        pair.calls_undecided += 1
        return
    for item in ancestry.classes[1:]:
        found = members(item.node).get(method)
        if found is None:
            if any(d for d in item.node.decorator_list) and method == "__init__":
                pair.calls_undecided += 1
                return
            continue
        if item.names is pair.engine and isinstance(found, Function):
            plain = is_plain(found) and (item.path, method) not in pair.provided
            bound = not has_decorator(found, "staticmethod")
            sign = signature(found, bound=bound) if plain else None
            yield from _judge(pair, name, site, call, sign, f"{item.path}.{method}", bound=bound)
        return
    if method.startswith("__") or not ancestry.complete:
        return
    engine = [i for i in ancestry.classes[1:] if i.names is pair.engine]
    if engine and (engine[0].path, method) not in pair.provided:
        symbol = f"{engine[0].path}.{method}"
        message = f"super() has no method {method!r}: {engine[0].path} and its bases do not define it"
        yield pair.hit("K003", site, name, symbol, message, frozenset({"AttributeError", "Exception", "BaseException"}))
