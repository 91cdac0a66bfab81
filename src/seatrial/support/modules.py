"""The modules of one package as syntax trees, parsed when first asked for.

A module that does not parse is there, with its error; it is not an absent one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.support.source import Trees
from seatrial.support.source.tree import MEMBER_LIMIT

NATIVE_SUFFIXES = (".so", ".pyd")


class Module:
    """One module. `tree` is None when the file is compiled code, or is not read or not parsed (`error` says why)."""

    def __init__(self, name: str, path: str, is_package: bool, source: bytes | None, error: str = "") -> None:
        self.name = name
        self.path = path
        self.is_package = is_package
        self.source = source
        self.error = error
        self.native = source is None and not error
        self.tree: ast.Module | None = None
        if source is not None:
            try:
                self.tree = ast.parse(source)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
                self.error = f"does not parse: {' '.join(str(exc).split())}"

    @property
    def package(self) -> str:
        """The package that relative imports in this module start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


class Package:
    """The modules below one top-level package, by dotted name."""

    def __init__(self, name: str, trees: Trees) -> None:
        self.name = name
        self.label = trees.label
        tree = trees.owner(f"{name}/__init__.py")
        self._trees = Trees([tree], trees.label) if tree is not None else trees
        self._paths: dict[str, str] = {}
        self._folders: set[str] = set()
        self._modules: dict[str, Module] = {}
        self._scan(name, name)

    def _scan(self, folder: str, dotted: str) -> bool:
        """Whether there is any module in the folder; one without (a build's destination) is no package."""
        names = self._trees.names(folder)
        before = len(self._paths)
        for name in names:
            if name.endswith("/"):
                if name[:-1].isidentifier():
                    self._scan(f"{folder}/{name[:-1]}", f"{dotted}.{name[:-1]}")
            elif name == "__init__.py":
                self._paths[dotted] = f"{folder}/{name}"
            elif name.endswith(".py"):
                self._paths.setdefault(f"{dotted}.{name[:-3]}", f"{folder}/{name}")
            elif name.endswith(NATIVE_SUFFIXES):
                self._paths.setdefault(f"{dotted}.{name.split('.')[0]}", f"{folder}/{name}")
        if len(self._paths) == before:
            return False
        self._folders.add(dotted)
        return True

    def __bool__(self) -> bool:
        return bool(self._paths)

    def not_followed(self) -> dict[str, str]:
        """Symlinks below the package that lead out of the source or round in a circle, with the reason."""
        mine = f"{self.name}/"
        return {path: why for path, why in self._trees.not_followed().items() if path.startswith(mine)}

    def elsewhere(self) -> dict[str, str]:
        """Dotted names of those symlinks, with the reason: what they lead to is there for Python and not for us."""
        found = {path.removesuffix(".py").replace("/", "."): why for path, why in self.not_followed().items()}
        return {dotted: why for dotted, why in found.items() if all(p.isidentifier() for p in dotted.split("."))}

    def has(self, dotted: str) -> bool:
        """Whether there is such a module, package or namespace folder."""
        return dotted in self._paths or dotted in self._folders

    def path(self, dotted: str) -> str:
        """Path of a module in its source, empty if it has none."""
        return self._paths.get(dotted, "")

    def get(self, dotted: str) -> Module | None:
        """The module, parsed; None if there is none (or only a folder)."""
        if dotted not in self._paths:
            return None
        if dotted not in self._modules:
            path = self._paths[dotted]
            source = None if path.endswith(NATIVE_SUFFIXES) else self._trees.read(path)
            # There, and not read, is not empty: what it defines would seem to be missing.
            lost = source is None and not path.endswith(NATIVE_SUFFIXES)
            error = f"cannot be read (no permission, or over {MEMBER_LIMIT >> 20} MiB)" if lost else ""
            self._modules[dotted] = Module(dotted, path, path.endswith("/__init__.py"), source, error)
        return self._modules[dotted]

    def names(self) -> list[str]:
        return sorted(self._paths)

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Every Python module's name and bytes, unparsed."""
        for name, path in sorted(self._paths.items()):
            if path.endswith(".py"):
                done = self._modules.get(name)
                data = done.source if done is not None else self._trees.read(path)
                if data is not None:
                    yield name, data


_IDLE = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)


def each(root: ast.AST) -> Iterator[ast.AST]:
    """Every node from `root` down, without the marks (Load, Add, Eq, ...) that `ast.walk` spends half its time on."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        children(node, todo)


def children(node: ast.AST, out: list[ast.AST]) -> None:
    """Append the node's direct children, marks left out."""
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            out.extend(v for v in value if isinstance(v, ast.AST) and not isinstance(v, _IDLE))
        elif isinstance(value, ast.AST) and not isinstance(value, _IDLE):
            out.append(value)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """The absolute name of the module an import statement names; empty if it climbs out of the package."""
    if not node.level:
        return node.module or ""
    parts = module.package.split(".")
    if node.level > len(parts):
        return ""
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def top_packages(trees: Trees) -> list[str]:
    """Top-level packages of a source, without tests, docs and build helpers."""
    left_out = {"tests", "test", "docs", "benchmarks", "examples", "tools", "scripts", "cmake", "csrc", "build", "src"}
    found = []
    for tree in trees:
        for name in tree.names(""):
            top = name.rstrip("/")
            is_package = name.endswith("/") and top.isidentifier() and "__init__.py" in tree.names(top)
            if is_package and top not in left_out and top not in found:
                found.append(top)
    return found
