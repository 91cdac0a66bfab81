"""Which keys of an accuracy YAML a repository's test code really reads, found in the code itself.

In: the source of a test file. Out: a `Dialect`. A path is written `serve.dtype`, `tasks[].metrics[].name`; a key read
by subscript is mandatory, one read by `.get` is not. Constant lists (`for s in ["a", "b"]: cfg.get(s)`) are followed.
What is read through anything else is not seen, so that a key is called dead only if no test file reads it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record

ROOT = ""
LOADERS = ("safe_load", "load", "full_load")


class Dialect(Record):
    """`read`: path to whether it is mandatory."""

    read: dict[str, bool] = msgspec.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`serve` where serving options are nested under that key, `flat` where they stand on top."""
        return "serve" if any(path == "serve" or path.startswith("serve.") for path in self.read) else "flat"

    def place(self, option: str) -> str | None:
        """Where a serving option is read: `serve.dtype`, `dtype`, or nowhere."""
        return next((p for p in (f"serve.{option}", option) if p in self.read), None)

    def knows(self, path: str) -> bool:
        """Read itself, or something below it is."""
        return path in self.read or any(p.startswith((path + ".", path + "[]")) for p in self.read)


def merge(dialects: Iterable[Dialect]) -> Dialect:
    """What any of them reads; mandatory only what the first reads so."""
    read: dict[str, bool] = {}
    for number, dialect in enumerate(dialects):
        for path, mandatory in dialect.read.items():
            read[path] = read.get(path, False) or (mandatory and number == 0)
    return Dialect(read=read)


def dialect_of(source: str, where: str) -> Dialect:
    """Raises FileFormatError if the source does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as exc:
        raise FileFormatError(f"{where} does not parse: {exc}") from exc
    reader = _Reader(tree)
    # A name may be bound below where it is used, in a function defined earlier: twice is enough for a chain of two.
    for _ in range(3):
        reader.visit(tree)
    return Dialect(read=reader.read)


class _Reader(ast.NodeVisitor):
    """`names`: variable to the path it holds; `words`: loop variable to the constants it takes."""

    def __init__(self, tree: ast.Module) -> None:
        self.names: dict[str, str] = {}
        self.words: dict[str, list[str]] = {}
        self.read: dict[str, bool] = {}
        self.functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        path = self.path(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and path is not None:
                self.names[target.id] = path

    def visit_For(self, node: ast.For) -> None:
        # The same name may take other words in the next loop.
        before = dict(self.words)
        self.loop(node.target, node.iter)
        self.generic_visit(node)
        self.words = before

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.loop(node.target, node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self.generators(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self.generators(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.generators(node)

    def generators(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        """The loops first: they bind the names of the element."""
        for part in node.generators:
            self.visit(part)
        self.visit(node.elt)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self.path(node)
        called = self.functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if called is not None:
            for parameter, value in zip(called.args.args, node.args, strict=False):
                path = self.path(value)
                if path is not None:
                    self.names[parameter.arg] = path

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.generic_visit(node)
        self.path(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            holder = self.path(node.comparators[0])
            if holder is not None:
                for key in self.keys(node.left):
                    self.note(_join(holder, key), mandatory=False)

    def loop(self, target: ast.expr, over: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            return
        if isinstance(over, (ast.List, ast.Tuple, ast.Set)):
            self.words[target.id] = [
                e.value for e in over.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)
            ]
            return
        path = self.path(over)
        if path is not None:
            self.names[target.id] = f"{path}[]"

    def keys(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        return self.words.get(node.id, []) if isinstance(node, ast.Name) else []

    def path(self, node: ast.expr) -> str | None:
        """The path an expression holds; notes what is read on the way."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Subscript):
            return self.taken(node.value, self.keys(node.slice), mandatory=True)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in LOADERS and isinstance(node.func.value, ast.Name) and "yaml" in node.func.value.id:
                return ROOT
            if node.func.attr in ("get", "pop") and node.args:
                return self.taken(node.func.value, self.keys(node.args[0]), mandatory=False)
        if isinstance(node, ast.BoolOp):
            return next((p for p in map(self.path, node.values) if p is not None), None)
        return None

    def taken(self, holder: ast.expr, keys: list[str], *, mandatory: bool) -> str | None:
        base = self.path(holder)
        if base is None or not keys:
            return None
        for key in keys:
            self.note(_join(base, key), mandatory=mandatory)
        return _join(base, keys[0]) if len(keys) == 1 else None

    def note(self, path: str, *, mandatory: bool) -> None:
        self.read[path] = self.read.get(path, False) or mandatory


def _join(base: str, key: str) -> str:
    return f"{base}.{key}" if base else key
