"""Whether vLLM's entry points of a plugin can lead to one of its functions, by the names its code mentions.

Read backwards, from the function to those who mention it, so that only a few modules need parsing. An
over-approximation: whoever mentions the name counts as a caller.
"""

from __future__ import annotations

import ast
import re

from seatrial.support.modules import Module, Package
from seatrial.support.source import EntryPoint


class Reach:
    """Answers for one plugin package; keeps what it has found out."""

    def __init__(self, package: Package, entry_points: tuple[EntryPoint, ...]) -> None:
        self._package = package
        self._entries: set[tuple[str, str]] = set()
        for point in entry_points:
            module, _, attribute = point.target.partition(":")
            self._entries.add((module.strip(), attribute.split("[")[0].strip()))
        self._texts = dict(package.texts())
        self._known: dict[tuple[str, str], bool] = {}

    def reached(self, module: str, function: str) -> bool:
        """`function` is a dotted name in `module`; the empty name, a module's own statements, counts as reached."""
        key = (module, function)
        if not function or key in self._entries:
            return True
        if key not in self._known:
            self._known[key] = False  # a circle of callers reaches nothing by itself
            self._known[key] = any(self.reached(*caller) for caller in self._callers(module, function))
        return self._known[key]

    def _callers(self, module: str, function: str) -> list[tuple[str, str]]:
        last = function.rpartition(".")[2]
        word = re.compile(rb"\b" + re.escape(last.encode()) + rb"\b")
        found = []
        for name, text in self._texts.items():
            if not word.search(text):
                continue
            other = self._package.get(name)
            if other is None or other.tree is None:
                continue
            for definition, node in _outer_definitions(other):
                if (name, definition) != (module, function) and _mentions(node, last):
                    found.append((name, definition))
        return found


def _outer_definitions(module: Module) -> list[tuple[str, ast.AST]]:
    """The module's functions and methods by dotted name, and "" for each of its other statements."""
    found: list[tuple[str, ast.AST]] = []

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.append((prefix + node.name, node))
            elif isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}.")
            elif not isinstance(node, (ast.Import, ast.ImportFrom)):
                found.append(("", node))

    if module.tree is not None:
        walk(module.tree.body, "")
    return found


def _mentions(root: ast.AST, name: str) -> bool:
    for node in ast.walk(root):
        if isinstance(node, ast.Name) and node.id == name:
            return True
        if isinstance(node, ast.Attribute) and node.attr == name:
            return True
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return True
    return False
