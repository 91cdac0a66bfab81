"""What names a module has at run time, and where a name of it is really defined; read from the syntax tree.

Understands re-exports, star imports, submodules, `TYPE_CHECKING` blocks (their names do not exist at run time), module
`__getattr__` (its table of names where one can be read) and compiled extensions. What it cannot see it calls `dynamic`:
the name may be there, and no alarm is raised for it.

Binding, dynamic names and following re-exports need each other, hence the length.
"""

from __future__ import annotations

import ast
from typing import Literal

from seatrial.support.evaluate import Evaluator, Unresolved
from seatrial.support.modules import Module, Package, absolute, each

# Ways to give a module names that stand in no statement.
BY_NAME = ("globals()", "sys.modules[__name__]")
Status = Literal["found", "missing", "no-module", "dynamic"]
ALWAYS = {"__name__", "__file__", "__doc__", "__path__", "__package__", "__spec__", "__dict__", "__loader__", "__all__"}


class Binding:
    """One way a module gets a name: a definition (`node`), or an import from `module` (of `name`, if not empty)."""

    __slots__ = ("kind", "module", "name", "node")

    def __init__(self, kind: str, node: ast.AST, module: str = "", name: str = "") -> None:
        self.kind, self.node, self.module, self.name = kind, node, module, name


class Resolution:
    """Where a name ends. `node` is its definition when it is a class or function of a readable module, `module` the
    module that defines it (or the submodule it is)."""

    __slots__ = ("module", "name", "node", "status")

    def __init__(self, status: Status, module: str = "", name: str = "", node: ast.AST | None = None) -> None:
        self.status, self.module, self.name, self.node = status, module, name, node


class ModuleNames:
    """Names bound by the statements of one module."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.bound: dict[str, list[Binding]] = {}
        self.stars: list[str] = []
        self.dynamic = False
        self.getattr: ast.FunctionDef | None = None
        if module.tree is not None:
            self._body(module.tree.body)
            for node in each(module.tree) if b"global " in (module.source or b"") else ():
                if isinstance(node, ast.Global):
                    for name in node.names:
                        self._bind(name, Binding("value", node))
        self.dynamic_names = self._offered()

    def _bind(self, name: str, binding: Binding) -> None:
        self.bound.setdefault(name, []).append(binding)

    def _body(self, body: list[ast.stmt]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._bind(node.name, Binding("function", node))
            if node.name == "__getattr__" and isinstance(node, ast.FunctionDef):
                self.getattr = node
        elif isinstance(node, ast.ClassDef):
            self._bind(node.name, Binding("class", node))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name if alias.asname else alias.name.split(".")[0]
                self._bind(alias.asname or top, Binding("module", node, top))
        elif isinstance(node, ast.ImportFrom):
            base = absolute(self.module, node)
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(base)
                else:
                    self._bind(alias.asname or alias.name, Binding("from", node, base, alias.name))
        elif isinstance(node, ast.If):
            only_types = is_type_checking(node.test)
            if not only_types:
                self._body(node.body)
            self._body(node.orelse)
        elif isinstance(node, ast.Try):
            for part in (node.body, node.orelse, node.finalbody, *(h.body for h in node.handlers)):
                self._body(part)
        elif isinstance(node, (ast.For, ast.While, ast.With)):
            if isinstance(node, ast.For):
                self._targets(node.target, node)
            if isinstance(node, ast.With):
                for item in node.items:
                    if item.optional_vars is not None:
                        self._targets(item.optional_vars, node)
            self._body(node.body)
            self._body(getattr(node, "orelse", []))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._targets(target, node)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            if node.value is not None:
                self._targets(node.target, node)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                self._body(case.body)
        elif isinstance(node, ast.Expr) and any(way in ast.unparse(node) for way in BY_NAME):
            self.dynamic = True

    def _targets(self, target: ast.expr, node: ast.stmt) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, Binding("value", node))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self._targets(part, node)
        elif isinstance(target, ast.Starred):
            self._targets(target.value, node)
        elif isinstance(target, ast.Subscript):
            text = ast.unparse(target.value)
            if text == "globals()" or (text == "sys.modules" and ast.unparse(target.slice) == "__name__"):
                self.dynamic = True

    def _offered(self) -> set[str] | None:
        """Names that `__getattr__` answers for: keys of the tables and constants it looks at; None if unreadable."""
        if self.getattr is None or self.module.tree is None:
            return set()
        if not _ends(self.getattr.body):
            return None  # it answers None to a name it does not know, and the import succeeds
        evaluator = Evaluator(self.module.tree)
        found: set[str] = set()
        readable = False
        for node in ast.walk(self.getattr):
            if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name):
                right = node.comparators[0]
                if isinstance(right, ast.Constant) and isinstance(right.value, str):
                    found.add(right.value)
                    readable = True
                keys = self._keys(right, evaluator)
                if keys is not None:
                    found |= keys
                    readable = True
            elif isinstance(node, ast.Subscript) or (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            ):
                table = node.value if isinstance(node, ast.Subscript) else node.func.value  # type: ignore[attr-defined]
                keys = self._keys(table, evaluator)
                if keys is not None:
                    found |= keys
                    readable = True
        return found if readable else None

    def _keys(self, node: ast.expr, evaluator: Evaluator) -> set[str] | None:
        """Keys of a module-level table, even where its values are no constants."""
        if isinstance(node, ast.Name) and node.id in evaluator:
            display = evaluator.node(node.id)
            if isinstance(display, ast.Dict) and all(isinstance(k, ast.Constant) for k in display.keys):
                return {str(k.value) for k in display.keys if isinstance(k, ast.Constant)}
            try:
                value = evaluator.name(node.id)
            except (Unresolved, KeyError):
                return None
            if isinstance(value, (dict, list, tuple, set)):
                return {str(v) for v in value}
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return {str(e.value) for e in node.elts if isinstance(e, ast.Constant)}
        return None


def _ends(body: list[ast.stmt]) -> bool:
    """Whether a function's statements always come to a return or a raise."""
    last = body[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _ends(last.body) and _ends(last.orelse)
    if isinstance(last, ast.Try):
        return _ends(last.body) and all(_ends(h.body) for h in last.handlers)
    return isinstance(last, (ast.Return, ast.Raise))


def is_type_checking(test: ast.expr) -> bool:
    """`if TYPE_CHECKING:`, however spelled."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING")


class Names:
    """Answers name questions about one package."""

    def __init__(self, package: Package, built: set[str] | None = None) -> None:
        """`built`: modules that a build adds; by default those the package imports from itself and does not carry."""
        self.package = package
        self._modules: dict[str, ModuleNames] = {}
        self._built = built | package.elsewhere().keys() if built is not None else None

    def of(self, dotted: str) -> ModuleNames | None:
        """The names of a readable module; None for compiled, broken or absent ones."""
        if dotted not in self._modules:
            module = self.package.get(dotted)
            if module is None or module.tree is None:
                return None
            self._modules[dotted] = ModuleNames(module)
        return self._modules[dotted]

    def has_module(self, dotted: str) -> bool:
        """Whether the module exists, or is one that only a build produces."""
        return self.package.has(dotted) or self._is_built(dotted)

    def built(self) -> set[str]:
        """Modules the package imports from itself but does not carry as text: made when it is built."""
        if self._built is None:
            self._built = set(self.package.elsewhere())
            top = self.package.name
            for _name, text in self.package.texts():
                for word in _import_words(text, top):
                    if not self.package.has(word) and word.count(".") <= 2:
                        self._built.add(word)
                        self._built.update(_parents_of(word, self.package))
        return self._built

    def resolve(self, module: str, name: str, depth: int = 0) -> Resolution:
        """`from module import name`: what is it, and where from."""
        if depth > 12:
            return Resolution("dynamic", module, name)
        if module.split(".")[0] != self.package.name:
            return Resolution("dynamic", module, name)
        if not self.package.has(module):
            status: Status = "dynamic" if self._is_built(module) else "no-module"
            return Resolution(status, module, name)
        names = self.of(module)
        if names is None:
            known = self.package.get(module)
            if known is None:  # a folder without __init__.py
                sub = f"{module}.{name}"
                return Resolution("found", sub, "") if self.package.has(sub) else Resolution("missing", module, name)
            return Resolution("dynamic", module, name)
        bindings = names.bound.get(name)
        if bindings:
            return self._follow(module, name, bindings, depth)
        sub = f"{module}.{name}"
        if self.package.has(sub):
            return Resolution("found", sub, "")
        for star in names.stars:
            found = self.resolve(star, name, depth + 1)
            if found.status in ("found", "dynamic"):
                return found
        if name in ALWAYS:
            return Resolution("dynamic", module, name)
        if self._is_built(sub):
            return Resolution("dynamic", module, name)
        offered = names.dynamic_names
        if names.dynamic or offered is None or name in offered:
            return Resolution("dynamic", module, name)
        return Resolution("missing", module, name)

    def _is_built(self, dotted: str) -> bool:
        built = self.built()
        return dotted in built or any(dotted.startswith(f"{b}.") for b in built)

    def _follow(self, module: str, name: str, bindings: list[Binding], depth: int) -> Resolution:
        if len({(b.kind, b.module, b.name) if b.kind in ("from", "module") else id(b.node) for b in bindings}) > 1:
            definitions = [b for b in bindings if b.kind in ("class", "function")]
            overloads = len(definitions) == len(bindings) and all(_is_overload(b.node) for b in definitions[:-1])
            if not overloads:
                return Resolution("found", module, name)  # it is there, but which one is decided at run time
        last = bindings[-1]
        if last.kind in ("class", "function"):
            return Resolution("found", module, name, last.node)
        if last.kind == "module":
            return Resolution("found", last.module, "")
        if last.kind == "from" and last.module.split(".")[0] == self.package.name:
            if last.module == module and last.name == name:
                return Resolution("found", f"{module}.{name}", "")
            target = self.resolve(last.module, last.name, depth + 1)
            # A re-export of something that is not there would break the engine itself; that is not ours to say.
            return target if target.status == "found" else Resolution("dynamic", last.module, last.name)
        if last.kind == "from":
            return Resolution("dynamic", last.module, last.name)  # another package's: not ours to look into
        return Resolution("found", module, name, last.node)


def _is_overload(node: ast.AST) -> bool:
    return any("overload" in ast.unparse(d) for d in getattr(node, "decorator_list", []))


def _import_words(text: bytes, top: str) -> list[str]:
    """Modules of the package itself that absolute imports in a module's text name."""
    import re

    pattern = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(" + re.escape(top.encode()) + rb"(?:\.\w+)+)", re.MULTILINE)
    return [match.decode() for match in pattern.findall(text)]


def _parents_of(dotted: str, package: Package) -> list[str]:
    parts = dotted.split(".")
    prefixes = (".".join(parts[:n]) for n in range(2, len(parts)))
    return [p for p in prefixes if not package.has(p)]
