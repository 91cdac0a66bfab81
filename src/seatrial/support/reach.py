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
        self._callers_of: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def reached(self, module: str, function: str) -> bool:
        """`function` is a dotted name in `module`; the empty name, a module's own statements, counts as reached."""
        key = (module, function)
        seen, waiting = {key}, [key]
        while waiting:
            at = waiting.pop()
            if not at[1] or at in self._entries or self._known.get(at) is True:
                self._known[key] = True
                return True
            if at not in self._known:
                fresh = [caller for caller in self._called_by(at) if caller not in seen]
                seen.update(fresh)
                waiting += fresh
        # None of all those that lead here is an entry, nor does anything else lead to them.
        self._known.update(dict.fromkeys(seen, False))
        return False

    def _called_by(self, key: tuple[str, str]) -> list[tuple[str, str]]:
        if key not in self._callers_of:
            self._callers_of[key] = self._callers(*key)
        return self._callers_of[key]

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
