"""One Python file as the rules see it: parsed once, walked once, its nodes by type, each with its parent.

In: the bytes. Refuses nothing: a file that does not parse has `error` and no nodes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from seatrial.support.modules import Module, absolute

if TYPE_CHECKING:
    from seatrial.adapter.lint.engine import EngineFacts
    from seatrial.adapter.lint.plugin import PluginFacts

LINE_END = re.compile(rb"\r\n|\r|\n")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


class LintFile:
    """`path` is relative to the root, with forward slashes; `module` its dotted name."""

    def __init__(self, path: str, source: bytes, plugin: PluginFacts, engine: EngineFacts | None) -> None:
        self.path = path
        self.source = source
        self.plugin = plugin
        self.engine = engine
        self.parsed = Module(module_name(path), path, path.endswith("__init__.py"), source)
        self.module = self.parsed.name
        self.error = self.parsed.error
        self.tree = self.parsed.tree
        self.by_type: dict[type[ast.AST], list[ast.AST]] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        if self.tree is not None:
            self._walk(self.tree)

    def _walk(self, tree: ast.Module) -> None:
        by_type, parents = self.by_type, self._parents
        todo: list[ast.AST] = [tree]
        while todo:
            node = todo.pop()
            by_type.setdefault(type(node), []).append(node)
            children: list[ast.AST] = []
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, list):
                    children.extend(v for v in value if isinstance(v, ast.AST))
                elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                    children.append(value)
            for child in children:
                parents[child] = node
            todo.extend(reversed(children))

    @cached_property
    def is_test(self) -> bool:
        parts = self.path.split("/")
        return bool({"tests", "test", "benchmarks", "examples", "docs"} & set(parts[:-1])) or parts[-1].startswith(
            ("test_", "conftest")
        )

    @cached_property
    def is_model(self) -> bool:
        """Whether it holds a model: a file of a `models` folder that loads weights or builds layers."""
        return "models" in self.path.split("/")[:-1] and (b"load_weights" in self.source or b"nn.Module" in self.source)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """From the node's parent up to the module."""
        parent = self._parents.get(node)
        while parent is not None:
            yield parent
            parent = self._parents.get(parent)

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def function(self, node: ast.AST) -> Function | None:
        """The function whose body the node is in."""
        return next((a for a in self.ancestors(node) if isinstance(a, FUNCTIONS)), None)

    def klass(self, node: ast.AST) -> ast.ClassDef | None:
        return next((a for a in self.ancestors(node) if isinstance(a, ast.ClassDef)), None)

    def caught(self, node: ast.AST) -> set[str]:
        """Exception classes that a `try` or `suppress` around the node catches, by their last name; bare: Exception."""
        out: set[str] = set()
        below = node
        for above in self.ancestors(node):
            if isinstance(above, ast.Try) and below in above.body:
                for handler in above.handlers:
                    out |= caught_names(handler.type)
            elif isinstance(above, ast.With):
                for item in above.items:
                    call = item.context_expr
                    if isinstance(call, ast.Call) and last(call.func) == "suppress":
                        out |= {last(a) for a in call.args}
            below = above
        return out

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Local name to (absolute module, name there; "" for a module), from every import in the file."""
        out: dict[str, tuple[str, str]] = {}
        for node in self.by_type.get(ast.ImportFrom, ()):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    out[alias.asname or alias.name] = (absolute(self.parsed, node), alias.name)
        for node in self.by_type.get(ast.Import, ()):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    out[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0],
                        "",
                    )
        return out

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Module-level classes by name."""
        body = self.tree.body if self.tree is not None else []
        return {n.name: n for n in body if isinstance(n, ast.ClassDef)}

    def origin(self, node: ast.expr) -> str:
        """The dotted name an expression stands for, through the file's imports: `envs.X` gives `vllm.envs.X`."""
        text = dotted(node)
        if not text:
            return ""
        head, _, rest = text.partition(".")
        if head not in self.imports:
            return text
        module, name = self.imports[head]
        return ".".join(part for part in (module, name, rest) if part)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(m.end() for m in LINE_END.finditer(self.source))]

    @cached_property
    def editable(self) -> bool:
        """Whether positions of the syntax tree are positions in the bytes: UTF-8 without a byte order mark."""
        if self.source.startswith(b"\xef\xbb\xbf"):
            return False
        try:
            self.source.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return not re.match(rb"^[ \t\f]*#.*?coding[:=][ \t]*(?!utf-?8)", self.source, re.IGNORECASE)

    def offset(self, line: int, column: int) -> int:
        """Byte offset of a syntax tree position (line from one, column in UTF-8 bytes from zero)."""
        return self._line_starts[line - 1] + column

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Byte offsets of a node's beginning and end."""
        start = self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        end = self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return start, end

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode("utf-8", "replace")

    def line_bytes(self, line: int) -> bytes:
        starts = self._line_starts
        end = starts[line] if line < len(starts) else len(self.source)
        return self.source[starts[line - 1] : end]

    def column(self, node: ast.AST) -> int:
        """Column in characters, from one."""
        before = self.line_bytes(node.lineno)[: node.col_offset]  # type: ignore[attr-defined]
        return len(before.decode("utf-8", "replace")) + 1

    @cached_property
    def newline(self) -> str:
        return "\r\n" if b"\r\n" in self.source else "\n"

    def add_import(self, module: str, name: str) -> tuple[tuple[int, int, str], ...]:
        """The edit that imports a name at the top of the file; none if it is imported already."""
        if self.imports.get(name) == (module, name) or self.tree is None:
            return ()
        place = None
        for node in self.tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                place = node
            elif place is not None or not _docstring(node):
                break
        if place is None:
            first = next((n for n in self.tree.body if not _docstring(n)), None)
            start = self.offset(first.lineno, 0) if first is not None else len(self.source)
            return ((start, start, f"from {module} import {name}{self.newline}"),)
        end = self.span(place)[1]
        return ((end, end, f"{self.newline}from {module} import {name}"),)


def module_name(path: str) -> str:
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__") or name


def _docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of names, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


def last(node: ast.AST | None) -> str:
    """The last component of a name or attribute; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def caught_names(node: ast.expr | None) -> set[str]:
    """The classes an `except` clause names, by their last component; a bare one catches `Exception` too."""
    if node is None:
        return {"BaseException", "Exception"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {last(p) for p in parts}


def inside(node: ast.AST, *, functions: bool = True) -> Iterator[ast.AST]:
    """Every node below, in source order; without the bodies of functions and classes in it if not wanted."""
    todo = list(ast.iter_child_nodes(node))[::-1]
    while todo:
        child = todo.pop()
        yield child
        if functions or not isinstance(child, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            todo.extend(list(ast.iter_child_nodes(child))[::-1])


def strings(node: ast.AST) -> Iterator[ast.Constant]:
    """String constants in an expression or statement, itself included."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    for child in inside(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child


def method(node: ast.ClassDef, name: str) -> Function | None:
    return next((n for n in node.body if isinstance(n, FUNCTIONS) and n.name == name), None)


def parameters(node: Function) -> list[str]:
    arguments = node.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def bases(node: ast.ClassDef) -> set[str]:
    """Base classes by their last name; `Base[T]` is `Base`."""
    return {last(b.value if isinstance(b, ast.Subscript) else b) for b in node.bases}
