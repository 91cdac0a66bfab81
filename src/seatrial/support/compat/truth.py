"""What a test in a plugin's source comes to for one engine version: true, false, or None where only a run can say.

Understands `TYPE_CHECKING`, `vllm_version_is("X")`, comparisons of vLLM's version, `find_spec("vllm.x")`, `hasattr` of
an engine module, constants of the plugin's modules that come from such tests, `not`, `and`, `or`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from packaging.version import InvalidVersion, Version

from seatrial.support.compat.names import Names
from seatrial.support.modules import Module, Package, absolute, each

COMPARE: dict[type[ast.cmpop], Callable[[Version, Version], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def parse_version(text: str) -> Version | None:
    """The public version (`0.32.0+cpu` is 0.32.0 to a plugin that asks); None if it is none."""
    try:
        return Version(Version(text).public)
    except InvalidVersion:
        return None


class Truth:
    """Answers for one engine and one plugin package."""

    def __init__(self, engine: Names, engine_version: str, plugin: Package) -> None:
        self._engine, self._plugin = engine, plugin
        self._version = parse_version(engine_version)
        self._constants: dict[tuple[str, str], bool | None] = {}
        self._off: dict[str, set[str]] = {}

    def of(self, test: ast.expr, module: Module) -> bool | None:
        """The value of `test`, which stands in `module`."""
        if isinstance(test, ast.Constant):
            return bool(test.value)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.of(test.operand, module)
            return None if inner is None else not inner
        if isinstance(test, ast.BoolOp):
            return self._bool(test, module)
        if isinstance(test, ast.Call):
            return self._call(test, module)
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return self._compare(test, module)
        if isinstance(test, (ast.Name, ast.Attribute)):
            if (test.id if isinstance(test, ast.Name) else test.attr) == "TYPE_CHECKING":
                return False
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

    def _bool(self, test: ast.BoolOp, module: Module) -> bool | None:
        values = [self.of(v, module) for v in test.values]
        deciding = not isinstance(test.op, ast.And)
        if deciding in values:
            return deciding
        return None if None in values else not deciding

    def _call(self, test: ast.Call, module: Module) -> bool | None:
        name = ast.unparse(test.func).split(".")[-1]
        arguments = [a.value if isinstance(a, ast.Constant) else None for a in test.args]
        if name == "vllm_version_is" and len(arguments) == 1 and isinstance(arguments[0], str):
            asked = parse_version(arguments[0])
            return None if self._version is None or asked is None else self._version == asked
        if name == "hasattr" and len(arguments) == 2 and isinstance(arguments[1], str):
            dotted = _module_bound(module, test.args[0])
            if dotted and self._engine.package.has(dotted):
                status = self._engine.resolve(dotted, arguments[1]).status
                return {"found": True, "missing": False}.get(status)
        if name == "bool" and len(test.args) == 1:
            return self.of(test.args[0], module)
        return None

    def _compare(self, test: ast.Compare, module: Module) -> bool | None:
        left, operator, right = test.left, test.ops[0], test.comparators[0]
        if isinstance(left, ast.Call) and ast.unparse(left.func).split(".")[-1] == "find_spec":
            found = self._spec(left)
            if found is not None and isinstance(right, ast.Constant) and right.value is None:
                return found if isinstance(operator, (ast.IsNot, ast.NotEq)) else not found
        mine, other = self._version_of(left, module), self._version_of(right, module)
        compare = COMPARE.get(type(operator))
        return None if mine is None or other is None or compare is None else compare(mine, other)

    def _spec(self, call: ast.Call) -> bool | None:
        argument = call.args[0] if call.args else None
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            return None
        inside = argument.value.split(".")[0] == self._engine.package.name
        return self._engine.has_module(argument.value) if inside else None

    def _version_of(self, node: ast.expr, module: Module) -> Version | None:
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Version", "parse") and node.args:
            return self._version_of(node.args[0], module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return parse_version(node.value)
        text = ast.unparse(node)
        if text in ("vllm.__version__", "vllm_version", "VLLM_VERSION") or text.endswith("vllm.__version__"):
            return self._version
        return None

    def constant(self, module: str, name: str, depth: int = 0) -> bool | None:
        """A module-level flag of the plugin, followed through its imports."""
        key = (module, name)
        if key in self._constants:
            return self._constants[key]
        self._constants[key] = None
        source = self._plugin.get(module)
        if depth < 4 and source is not None and source.tree is not None:
            self._constants[key] = self._assigned(source.tree.body, name, source, depth)
        return self._constants[key]

    def _assigned(self, body: list[ast.stmt], name: str, module: Module, depth: int) -> bool | None:
        value: bool | None = None
        for node in body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                value = self.of(node.value, module)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                value = self.of(node.value, module) if node.value is not None else None
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        value = self.constant(absolute(module, node), alias.name, depth + 1)
            elif isinstance(node, ast.If):
                test = self.of(node.test, module)
                if test is not None:
                    chosen = self._assigned(node.body if test else node.orelse, name, module, depth)
                    value = value if chosen is None else chosen
        return value


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
