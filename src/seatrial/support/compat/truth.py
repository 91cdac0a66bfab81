"""What a test in a plugin's source comes to for one engine version: true, false, or None where only a run can say.

Understands `TYPE_CHECKING`, `vllm_version_is("X")`, comparisons of vLLM's version, `find_spec("vllm.x")`, `hasattr` of
an engine module, constants of the plugin's modules that come from such tests, `not`, `and`, `or`.

One kind of test leads to another (a flag to a version, a version to a name), hence the length.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

from seatrial.support.compat.names import Names
from seatrial.support.modules import Module, Package, absolute, each

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


# Where vLLM says its version.
VERSIONS = {"vllm.__version__", "vllm.version.__version__", "vllm._version.__version__", "vllm._version.version"}


def parse_version(text: str) -> Version | None:
    """The version without a build's label (0.32.0 for `0.32.0+cpu`); None if it is none."""
    try:
        return Version(Version(text).public)
    except InvalidVersion:
        return None


# What in a plugin's `vllm_version_is` shows that it leaves a build's label out of account: uses, not words about it.
UNLABELLED = re.compile(r"\.(?:base_version|public|release|r?split|r?partition|startswith)\b")


class Swayed(NamedTuple):
    """A test that a build's label turns over: where it stands, and whether the plugin reads VLLM_VERSION for it."""

    module: str
    line: int
    test: str
    overridable: bool


class Truth:
    """Answers for one engine and one plugin package.

    `0.32.0+cpu` is no 0.32.0 to `Version("0.32.0") ==`, which is what vllm-ascend asks, unless VLLM_VERSION says
    otherwise. Such tests are answered for the release itself, and kept in `swayed`.
    """

    def __init__(self, engine: Names, engine_version: str, plugin: Package) -> None:
        self._engine, self._plugin = engine, plugin
        self._version = parse_version(engine_version)
        self._text = engine_version.partition("+")[0] if self._version is not None else ""
        whole = Version(engine_version) if self._version is not None else None
        self._whole = (whole, engine_version) if whole is not None and whole.local else None
        self.swayed: dict[tuple[str, int], Swayed] = {}
        self._asks: str | None = None
        self._constants: dict[tuple[str, str], bool | None] = {}
        self._off: dict[str, set[str]] = {}
        self._from: dict[str, dict[str, str]] = {}
        self._values: dict[str, dict[str, list[ast.expr]]] = {}

    def of(self, test: ast.expr, module: Module, hidden: frozenset[str] = frozenset()) -> bool | None:
        """The value of `test`, which stands in `module`; `hidden` are names that a function there has of its own."""
        if isinstance(test, ast.Constant):
            return bool(test.value)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.of(test.operand, module, hidden)
            return None if inner is None else not inner
        if isinstance(test, ast.BoolOp):
            return self._bool(test, module, hidden)
        if isinstance(test, ast.Call):
            return self._call(test, module, hidden)
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return self._compare(test, module)
        if isinstance(test, (ast.Name, ast.Attribute)):
            if (test.id if isinstance(test, ast.Name) else test.attr) == "TYPE_CHECKING":
                return False
            if isinstance(test, ast.Name) and test.id in hidden:
                return None
            off = self._switched_off(module)
            if off and ast.unparse(test) in off:
                return False
            if isinstance(test, ast.Name):
                return self.constant(module.name, test.id)
        return None

    def _switched_off(self, module: Module) -> set[str]:
        """Flags that `if FLAG and TEST: FLAG = False` turns off on this engine."""
        if module.name not in self._off:
            off = self._off[module.name] = set()
            versions = b"vllm_version_is" in (module.source or b"")
            for node in each(module.tree) if versions and module.tree is not None else ():
                if not (isinstance(node, ast.If) and isinstance(node.test, ast.BoolOp) and len(node.test.values) == 2):
                    continue
                flag = ast.unparse(node.test.values[0])
                resets = any(ast.unparse(statement) == f"{flag} = False" for statement in node.body)
                if resets and isinstance(node.test.op, ast.And) and self.of(node.test.values[1], module):
                    off.add(flag)
        return self._off[module.name]

    def _bool(self, test: ast.BoolOp, module: Module, hidden: frozenset[str]) -> bool | None:
        values = [self.of(v, module, hidden) for v in test.values]
        deciding = not isinstance(test.op, ast.And)
        if deciding in values:
            return deciding
        return None if None in values else not deciding

    def _call(self, test: ast.Call, module: Module, hidden: frozenset[str]) -> bool | None:
        name = ast.unparse(test.func).split(".")[-1]
        arguments = [a.value if isinstance(a, ast.Constant) else None for a in test.args]
        if name == "vllm_version_is" and len(arguments) == 1 and isinstance(arguments[0], str):
            asked = parse_version(arguments[0])
            same = None if self._version is None or asked is None else self._version == asked
            # Equal but for the label: only then does the label decide.
            if same and self._whole is not None and not UNLABELLED.search(self._asking()):
                self._sways(test, module, "VLLM_VERSION" in self._asking())
            return same
        if name == "hasattr" and len(arguments) == 2 and isinstance(arguments[1], str):
            dotted = _module_bound(module, test.args[0])
            if dotted and self._engine.package.has(dotted):
                status = self._engine.resolve(dotted, arguments[1]).status
                return {"found": True, "missing": False}.get(status)
        if name == "bool" and len(test.args) == 1:
            return self.of(test.args[0], module, hidden)
        return None

    def _compare(self, test: ast.Compare, module: Module) -> bool | None:
        answer = self._compared(test, module)
        if self._whole is not None and answer is not None:
            without = self._version, self._text
            self._version, self._text = self._whole
            if self._compared(test, module) is not answer:
                self._sways(test, module, overridable=False)
            self._version, self._text = without
        return answer

    def _sways(self, test: ast.expr, module: Module, overridable: bool) -> None:
        place = (module.name, test.lineno)
        self.swayed.setdefault(place, Swayed(module.name, test.lineno, ast.unparse(test), overridable))

    def _asking(self) -> str:
        """The text of the plugin's own `vllm_version_is`; "" if it has none."""
        if self._asks is None:
            self._asks = ""
            for name in self._plugin.names():
                module = self._plugin.get(name)
                if module is None or module.tree is None or b"def vllm_version_is" not in (module.source or b""):
                    continue
                for node in each(module.tree):
                    if isinstance(node, ast.FunctionDef) and node.name == "vllm_version_is":
                        self._asks += ast.unparse(node)
        return self._asks

    def _compared(self, test: ast.Compare, module: Module) -> bool | None:
        left, operator, right = test.left, test.ops[0], test.comparators[0]
        if isinstance(left, ast.Call) and ast.unparse(left.func).split(".")[-1] == "find_spec":
            found = self._spec(left)
            if found is not None and isinstance(right, ast.Constant) and right.value is None:
                return found if isinstance(operator, (ast.IsNot, ast.NotEq)) else not found
        compare = COMPARE.get(type(operator))
        texts = self._text_of(left, module), self._text_of(right, module)
        if compare is not None and texts[0] is not None and texts[1] is not None:
            return compare(texts[0], texts[1])  # as Python does: "0.9.0" comes after "0.11.0"
        mine, other = self._version_of(left, module), self._version_of(right, module)
        return None if mine is None or other is None or compare is None else compare(mine, other)

    def _spec(self, call: ast.Call) -> bool | None:
        argument = call.args[0] if call.args else None
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            return None
        inside = argument.value.split(".")[0] == self._engine.package.name
        return self._engine.has_module(argument.value) if inside else None

    def _text_of(self, node: ast.expr, module: Module) -> str | None:
        """The string that a side of a comparison is, if no Version is made of it."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self._text or None if self._is_text(node, module) else None

    def _is_text(self, node: ast.expr, module: Module, depth: int = 0) -> bool:
        """Whether an expression is the engine's version as the engine says it: `vllm.__version__`, however imported."""
        if isinstance(node, ast.Call):
            asked = node.args[0] if node.args else None
            return ast.unparse(node.func).split(".")[-1] == "version" and (
                isinstance(asked, ast.Constant) and asked.value == self._engine.package.name
            )
        if isinstance(node, ast.Name):
            value = self._only_value(node, module) if depth < 4 else None
            stands = value is not None and self._is_text(value, module, depth + 1)
            return stands or self._imported(module).get(node.id) in VERSIONS
        return isinstance(node, ast.Attribute) and ast.unparse(node) in VERSIONS

    def _imported(self, module: Module) -> dict[str, str]:
        """Names that the module's own statements import from a module, with what they are."""
        if module.name not in self._from:
            found = self._from[module.name] = {}
            for node in module.tree.body if module.tree is not None else ():
                if isinstance(node, ast.ImportFrom):
                    base = absolute(module, node)
                    found.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names})
        return self._from[module.name]

    def _version_of(self, node: ast.expr, module: Module, depth: int = 0) -> Version | None:
        if self._is_text(node, module):
            return self._version
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Version", "parse") and node.args:
            return self._version_of(node.args[0], module, depth)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return parse_version(node.value)
        if isinstance(node, ast.Attribute) and node.attr in ("base_version", "public"):
            whole = self._version_of(node.value, module, depth)
            return parse_version(getattr(whole, node.attr)) if whole is not None else None
        text = ast.unparse(node)
        if text in ("vllm_version", "VLLM_VERSION") or text.endswith("vllm.__version__"):
            return self._version
        value = self._only_value(node, module) if depth < 4 else None
        return self._version_of(value, module, depth + 1) if value is not None else None

    def _only_value(self, node: ast.expr, module: Module) -> ast.expr | None:
        """What a name stands for, if the module gives it one value."""
        if not isinstance(node, ast.Name):
            return None
        if module.name not in self._values:
            self._values[module.name] = _values(module)
        values = self._values[module.name].get(node.id, [])
        return values[0] if len(values) == 1 else None

    def constant(self, module: str, name: str, depth: int = 0) -> bool | None:
        """A module-level flag of the plugin, followed through its imports."""
        key = (module, name)
        if key in self._constants:
            return self._constants[key]
        self._constants[key] = None
        source = self._plugin.get(module)
        if depth < 4 and source is not None and source.tree is not None:
            value = self._assigned(source.tree.body, name, source, depth, None)
            self._constants[key] = value if value is None or not _is_global(source, name) else None
        return self._constants[key]

    def _assigned(self, body: list[ast.stmt], name: str, module: Module, depth: int, value: bool | None) -> bool | None:
        """The flag's value after the statements, `value` being the one before; None wherever roads may differ."""
        for node in body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                    value = self.of(node.value, module) if node.value is not None else value
                    continue
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        value = self.constant(absolute(module, node), alias.name, depth + 1)
            elif isinstance(node, ast.If):
                test = self.of(node.test, module)
                ways = [b for b, on in ((node.body, True), (node.orelse, False)) if test is None or test is on]
                value = _agreed([self._assigned(way, name, module, depth, value) for way in ways])
            elif isinstance(node, ast.Try):
                through = self._assigned(node.body, name, module, depth, value)
                inside = _agreed([value, through])  # where in the body it broke off is not known
                ways = [h.body for h in node.handlers]
                ends = [self._assigned(way, name, module, depth, inside) for way in ways]
                value = _agreed([self._assigned(node.orelse, name, module, depth, through), *ends])
                value = self._assigned(node.finalbody, name, module, depth, value)
            elif isinstance(node, ast.With):
                value = self._assigned(node.body, name, module, depth, value)
            elif _binds(node, name):
                value = None
        return value


def _values(module: Module) -> dict[str, list[ast.expr]]:
    """What the module gives each of its names, wherever it does so."""
    found: dict[str, list[ast.expr]] = {}
    for node in each(module.tree) if module.tree is not None else ():
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
    return found


def _agreed(values: list[bool | None]) -> bool | None:
    return values[0] if len(set(values)) == 1 else None


def _binds(node: ast.stmt, name: str) -> bool:
    """Whether a statement that is not followed may give the module another `name`."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == name
    if isinstance(node, ast.Import):
        return any((alias.asname or alias.name.split(".")[0]) == name for alias in node.names)
    return any(isinstance(n, ast.Name) and n.id == name and not isinstance(n.ctx, ast.Load) for n in each(node))


def _is_global(module: Module, name: str) -> bool:
    """Whether some function of the module sets its `name`."""
    if module.tree is None or b"global " not in (module.source or b""):
        return False
    return any(isinstance(n, ast.Global) and name in n.names for n in each(module.tree))


def _module_bound(module: Module, node: ast.expr) -> str:
    """The engine module that an expression names, by the module-level imports."""
    text = ast.unparse(node)
    for statement in module.tree.body if module.tree is not None else ():
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.asname == text or (alias.asname is None and alias.name == text):
                    return alias.name
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == text:
                    return f"{absolute(module, statement)}.{alias.name}"
    return ""
