"""Classes of engine and plugin: their bases as far as the sources show them, their members, their constructors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from seatrial.support.compat.names import Names, Resolution
from seatrial.support.compat.signature import Signature, decorator_name, has_decorator, is_plain, signature
from seatrial.support.modules import each

# Bases that add no attributes or abstract methods a plugin could miss.
BENIGN = {"object", "ABC", "abc.ABC", "Generic", "Protocol", "typing.Generic", "typing.Protocol"}
KEEPS_CLASS = {"dataclass", "final", "runtime_checkable", "register", "config"}


class ClassRef(NamedTuple):
    """A class definition and the module it stands in."""

    names: Names
    module: str
    node: ast.ClassDef

    @property
    def path(self) -> str:
        return f"{self.module}.{self.node.name}"


class Ancestry(NamedTuple):
    """The class and its ancestors that were found, nearest first; `unseen` are the bases that were not."""

    classes: tuple[ClassRef, ...]
    unseen: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether a missing attribute is really missing: all bases seen, nothing makes attributes on the fly."""
        if set(self.unseen) - BENIGN:
            return False
        for ref in self.classes:
            if any(k.arg == "metaclass" and "ABCMeta" not in ast.unparse(k.value) for k in ref.node.keywords):
                return False
            if "__getattr__" in members(ref.node) or "__getattribute__" in members(ref.node):
                return False
            if any(decorator_name(d) not in KEEPS_CLASS for d in ref.node.decorator_list):
                return False
        return True


class Classes:
    """Looks classes up across the two packages."""

    def __init__(self, engine: Names, plugin: Names) -> None:
        self._owners = {engine.package.name: engine, plugin.package.name: plugin}
        self._ancestry: dict[str, Ancestry] = {}

    def resolve(self, module: str, name: str) -> Resolution:
        """A name of a module of either package."""
        owner = self._owners.get(module.split(".")[0])
        if owner is None:
            return Resolution("dynamic", module, name)
        found = owner.resolve(module, name)
        if found.status == "dynamic" and found.module.split(".")[0] in self._owners and found.module != module:
            return self.resolve(found.module, found.name)
        if found.status == "found" and not found.name and found.module.split(".")[0] != owner.package.name:
            return Resolution("dynamic", found.module, "")
        return found

    def find(self, module: str, name: str) -> ClassRef | None:
        """The class that `name` of `module` is, wherever it is defined."""
        found = self.resolve(module, name)
        if found.status == "dynamic" and found.name:
            found = self._across(module, name) or found
        if isinstance(found.node, ast.ClassDef):
            return ClassRef(self._owners[found.module.split(".")[0]], found.module, found.node)
        return None

    def _across(self, module: str, name: str) -> Resolution | None:
        """A plugin's name that is imported from the engine."""
        owner = self._owners.get(module.split(".")[0])
        names = owner.of(module) if owner is not None else None
        bindings = names.bound.get(name, []) if names is not None else []
        if len(bindings) == 1 and bindings[0].kind == "from" and bindings[0].module != module:
            return self.resolve(bindings[0].module, bindings[0].name)
        return None

    def of_expression(self, module: str, node: ast.expr) -> ClassRef | None:
        """The class a base expression names, by the module's own bindings."""
        if isinstance(node, ast.Subscript):
            return self.of_expression(module, node.value)
        if isinstance(node, ast.Name):
            return self.find(module, node.id)
        if isinstance(node, ast.Attribute):
            owner = self._owners.get(module.split(".")[0])
            names = owner.of(module) if owner is not None else None
            dotted = ast.unparse(node.value)
            bindings = names.bound.get(dotted.split(".")[0], []) if names is not None else []
            if len(bindings) == 1 and bindings[0].kind in ("module", "from"):
                binding = bindings[0]
                head = binding.module if binding.kind == "module" else f"{binding.module}.{binding.name}"
                rest = dotted.split(".")[1:]
                return self.find(".".join([head, *rest]), node.attr)
        return None

    def ancestry(self, ref: ClassRef) -> Ancestry:
        """The class and what it inherits from, depth first, each once."""
        if ref.path not in self._ancestry:
            self._ancestry[ref.path] = Ancestry((ref,), ("(circular)",))
            found: dict[str, ClassRef] = {ref.path: ref}
            unseen: list[str] = []
            for base in ref.node.bases:
                base_ref = self.of_expression(ref.module, base)
                if base_ref is None:
                    text = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
                    unseen.append(text)
                    continue
                above = self.ancestry(base_ref)
                for item in above.classes:
                    found.setdefault(item.path, item)
                unseen.extend(above.unseen)
            self._ancestry[ref.path] = Ancestry(tuple(found.values()), tuple(unseen))
        return self._ancestry[ref.path]

    def constructor(self, ref: ClassRef) -> Signature | None:
        """What the class's constructor takes; None where the sources do not show it."""
        ancestry = self.ancestry(ref)
        for item in ancestry.classes:
            body = members(item.node)
            if "__new__" in body or any(k.arg == "metaclass" for k in item.node.keywords):
                return None
        for item in ancestry.classes:
            function = members(item.node).get("__init__")
            if isinstance(function, ast.FunctionDef):
                # Bases before it in the real order that were not seen might define it first.
                first = item is ancestry.classes[0] or not set(ancestry.unseen) - BENIGN
                decorated = any(decorator_name(d) not in KEEPS_CLASS for d in ref.node.decorator_list)
                return signature(function, bound=True) if first and is_plain(function) and not decorated else None
            if any(decorator_name(d) not in ("final", "runtime_checkable") for d in item.node.decorator_list):
                return None
        return None


def members(node: ast.ClassDef) -> dict[str, ast.AST]:
    """Names a class body binds, branches included; the last definition of a name counts."""
    found: dict[str, ast.AST] = {}

    def walk(body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found[statement.name] = statement
            elif isinstance(statement, ast.Assign):
                for target in statement.targets:
                    for name in _target_names(target):
                        found[name] = statement
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = statement
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                for alias in statement.names:
                    found[alias.asname or alias.name.split(".")[0]] = statement
            elif isinstance(statement, (ast.If, ast.Try, ast.With, ast.For)):
                walk(statement.body)
                walk(getattr(statement, "orelse", []))
                for handler in getattr(statement, "handlers", []):
                    walk(handler.body)

    walk(node.body)
    return found


def instance_attributes(node: ast.ClassDef) -> Iterator[str]:
    """Names assigned as `self.NAME` in the class's methods."""
    for inner in each(node):
        if (
            isinstance(inner, ast.Attribute)
            and isinstance(inner.ctx, ast.Store)
            and isinstance(inner.value, ast.Name)
            and inner.value.id == "self"
        ):
            yield inner.attr


def abstract_methods(node: ast.ClassDef) -> set[str]:
    """Methods the class itself declares abstract."""
    return {n for n, m in members(node).items() if has_decorator(m, "abstractmethod")}


def _target_names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, (ast.Tuple, ast.List)):
        return [name for part in target.elts for name in _target_names(part)]
    return []
