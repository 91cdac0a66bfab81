"""Who in the engine calls a method, so that an override can be judged by the calls that would reach it.

A call reaches the plugin's override if it is `self.method(...)` in one of the class's own ancestors, or
`current_platform.method(...)`, or any `x.method(...)` when no other class of the engine has a method of that name. A
caller that the plugin itself replaces by an override is left out: it never runs.
"""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from seatrial.support.compat.names import Names
from seatrial.support.modules import each

EVERYWHERE = {
    "forward",
    "apply",
    "load_weights",
    "create_weights",
    "process_weights_after_loading",
    "build",
    "get",
    "get_name",
}


class Caller(NamedTuple):
    """A call in the engine: in `function` of class `cls` (empty outside classes) of `module`, on `receiver`."""

    module: str
    cls: str
    function: str
    receiver: str
    call: ast.Call


class Callers:
    """Finds calls by the method's name; keeps what it has found."""

    def __init__(self, engine: Names) -> None:
        self._engine = engine
        self._calls: dict[str, list[Caller]] = {}
        self._defined: dict[str, list[tuple[str, str]]] = {}

    def prepare(self, methods: set[str]) -> None:
        """Look for calls and definitions of all `methods` in one pass over the engine.

        `forward`, `apply` and the like have hundreds of callers of other classes; nothing can be said of those.
        """
        methods = methods - EVERYWHERE
        if not methods:
            return
        words = b"|".join(re.escape(m.encode()) for m in sorted(methods))
        pattern = re.compile(rb"(?:\.|def )(" + words + rb")\(")
        for module, text in self._engine.package.texts():
            if not pattern.search(text):
                continue
            try:
                self._scan(module, ast.parse(text), methods)  # not kept: most of these files nothing else needs
            except (SyntaxError, ValueError, RecursionError):
                continue  # the engine's own unreadable file has no readable callers

    def _scan(self, module: str, tree: ast.Module, methods: set[str]) -> None:
        def walk(body: list[ast.stmt], cls: str, function: str) -> None:
            for node in body:
                if isinstance(node, ast.ClassDef):
                    walk(node.body, node.name, "")
                elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    if node.name in methods and cls and not function:
                        self._defined.setdefault(node.name, []).append((module, cls))
                    self._calls_in(node, module, cls, function or node.name, methods)
                elif isinstance(node, (ast.If, ast.Try)):
                    walk(node.body, cls, function)
                    walk(node.orelse, cls, function)
                else:
                    self._calls_in(node, module, cls, function, methods)

        walk(tree.body, "", "")

    def _calls_in(self, root: ast.AST, module: str, cls: str, function: str, methods: set[str]) -> None:
        for node in each(root):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
                receiver = ast.unparse(node.func.value)
                caller = Caller(module, cls, function, receiver, node)
                self._calls.setdefault(node.func.attr, []).append(caller)

    def of(self, method: str) -> list[Caller]:
        return self._calls.get(method, [])

    def definers(self, method: str) -> list[tuple[str, str]]:
        """(module, class) pairs of the engine that define the method."""
        return self._defined.get(method, [])
