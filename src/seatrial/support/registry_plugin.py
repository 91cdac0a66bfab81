"""What a plugin registers, read from its source: `ModelRegistry.register_model`, custom ops, import hooks.

Only what an entry point of vLLM's groups can reach counts; the rest is reported as out of reach. A registration that
cannot be worked out from the text (a name computed at run time) is a finding.

One walk with its loops, tests and tables in sight; cutting it would pass that state around, hence the length.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from seatrial.core.finding import Finding, Severity
from seatrial.support.evaluate import Evaluator, Unresolved
from seatrial.support.modules import Module, Package, absolute
from seatrial.support.reach import Reach
from seatrial.support.registry_records import ImportHook, OutOfTreeOp, Registered
from seatrial.support.source import EntryPoint

# Findings on a registration that counts for nothing: vLLM raises on it, or it cannot be read.
UNREAD = ("R004", "R005")
REGISTER_OP = {"register_oot"}
INTERESTING = (b"register_model", b"register_oot", b"__import__")


class PluginRegistrations:
    """Collected while walking; `owner` is the plugin's distribution."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.models: list[Registered] = []
        self.ops: list[OutOfTreeOp] = []
        self.hooks: list[ImportHook] = []
        self.findings: list[Finding] = []


def read_plugin(package: Package, owner: str, entry_points: tuple[EntryPoint, ...]) -> PluginRegistrations:
    """Registrations of one plugin package whose vLLM entry points are given."""
    out = PluginRegistrations(owner)
    live = Reach(package, entry_points)
    for name, text in package.texts():
        if not any(word in text for word in INTERESTING):
            continue
        module = package.get(name)
        if module is None:
            continue
        if module.error:
            out.findings.append(
                Finding(
                    code="R002",
                    severity=Severity.WARNING,
                    place=module.path,
                    message=module.error,
                    next_step="It may be written for another Python than the one seatrial runs on.",
                )
            )
        if module.tree is not None:
            _Walk(module, package, out, live).run()
    return out


class _Walk:
    """One module, statement by statement, with the names of the loops and tests it stands in."""

    def __init__(self, module: Module, package: Package, out: PluginRegistrations, live: Reach) -> None:
        if module.tree is None:
            raise ValueError("a module that did not parse has no statements")
        self.module, self.package, self.out, self.live = module, package, out, live
        self.tree = module.tree
        self.evaluator = Evaluator(module.tree)
        self.imports = _imported(module)
        self.wrappers: set[str] = set()

    def run(self) -> None:
        self._body(self.tree.body, "", {}, ())

    def _body(self, body: list[ast.stmt], function: str, local: Mapping[str, Any], tests: tuple[str, ...]) -> None:
        scope = dict(local)
        for statement in body:
            self._statement(statement, function, scope, tests)

    def _statement(self, node: ast.stmt, function: str, scope: dict[str, Any], tests: tuple[str, ...]) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._body(node.body, f"{function}.{node.name}".lstrip("."), {}, ())
        elif isinstance(node, ast.If):
            test = ast.unparse(node.test)
            whole = f"({test})" if isinstance(node.test, (ast.BoolOp, ast.IfExp, ast.NamedExpr)) else test
            self._body(node.body, function, scope, (*tests, whole))
            self._body(node.orelse, function, scope, (*tests, f"not ({test})"))
        elif isinstance(node, ast.For):
            self._for(node, function, scope, tests)
        elif isinstance(node, ast.Try):
            for part in (node.body, node.orelse, node.finalbody, *(h.body for h in node.handlers)):
                self._body(part, function, scope, tests)
        elif isinstance(node, (ast.With, ast.While)):
            self._body(node.body, function, scope, tests)
            self._body(getattr(node, "orelse", []), function, scope, tests)
        else:
            self._simple(node, function, scope, tests)

    def _for(self, node: ast.For, function: str, scope: dict[str, Any], tests: tuple[str, ...]) -> None:
        if not any(_called(n) in {"register_model", *REGISTER_OP} for n in ast.walk(node)):
            return
        try:
            items = self.evaluator.iterable(node.iter, scope)
            bound = [self.evaluator.bind(node.target, item) for item in items]
        except Unresolved as exc:
            if not any(_called(n) == "register_model" for n in ast.walk(node)):
                return  # ops registered from a table that is read by itself
            self._unread(node, f"a loop that registers: {exc}")
            return
        for names in bound:
            self._body(node.body, function, {**scope, **names}, tests)
        self._body(node.orelse, function, scope, tests)

    def _simple(self, node: ast.stmt, function: str, scope: dict[str, Any], tests: tuple[str, ...]) -> None:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            try:
                scope[name] = self.evaluator.value(node.value, scope)
            except Unresolved:
                scope.pop(name, None)
            self._tables(name, node.value, function)
        for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
            called = _called(call)
            if called == "register_model" and self._is_registry(call.func):
                self._model(call, function, scope, tests)
            elif called in REGISTER_OP:
                self._op(call, scope)
            elif called == "update" and isinstance(call.func, ast.Attribute) and call.args:
                self._tables(ast.unparse(call.func.value), call.args[0], function)

    def _is_registry(self, function: ast.expr) -> bool:
        """`ModelRegistry.register_model`, by whatever name the registry was imported."""
        if not isinstance(function, ast.Attribute):
            return False
        base = ast.unparse(function.value)
        return self.imports.get(base.split(".")[0], "").startswith("vllm") and (
            base.endswith("ModelRegistry") or self.imports.get(base, "").endswith(".ModelRegistry")
        )

    def _model(self, call: ast.Call, function: str, scope: dict[str, Any], tests: tuple[str, ...]) -> None:
        given: dict[str, ast.expr] = dict(zip(("model_arch", "model_cls"), call.args, strict=False))
        given.update({k.arg: k.value for k in call.keywords if k.arg})
        if not {"model_arch", "model_cls"} <= set(given):
            self._unread(call, "register_model without its arguments model_arch and model_cls")
            return
        try:
            arch = self.evaluator.value(given["model_arch"], scope)
        except Unresolved as exc:
            self._unread(call, f"the architecture's name: {exc}")
            return
        place = f"{self.module.path}:{call.lineno}"
        module, name = self._target(given["model_cls"], scope)
        if module and not name:
            return  # said already: vLLM raises on it
        if not module:
            self._unread(call, f"the class of {arch}")
            return
        if not self.live.reached(self.module.name, function):
            self.out.findings.append(
                Finding(
                    code="R003",
                    severity=Severity.INFO,
                    place=place,
                    message=f"registers {arch}, but no entry point of vLLM's groups leads there",
                )
            )
            return
        self.out.models.append(
            Registered(
                architecture=str(arch),
                state="registered",
                owner=self.out.owner,
                module=module,
                class_name=name,
                condition=" and ".join(tests),
                place=place,
            )
        )

    def _target(self, node: ast.expr, scope: dict[str, Any]) -> tuple[str, str]:
        """Module and class of a lazy string or of a class that the module imports or defines."""
        try:
            value = self.evaluator.value(node, scope)
        except Unresolved:
            value = None
        if isinstance(value, str):
            module, colon, name = value.partition(":")
            if not colon or ":" in name:
                self.out.findings.append(
                    Finding(
                        code="R004",
                        severity=Severity.ERROR,
                        place=f"{self.module.path}:{node.lineno}",
                        message=f"{value!r} is not `module:Class`; vLLM raises on it",
                        next_step="Write the class as `package.module:Class`.",
                    )
                )
                return value, ""
            return module, name
        if isinstance(node, ast.Name):
            dotted = self.imports.get(node.id, f"{self.module.name}.{node.id}")
            module, _, name = dotted.rpartition(".")
            return module, name
        return "", ""

    def _op(self, call: ast.Call, scope: dict[str, Any]) -> None:
        names = {k.arg: k.value for k in call.keywords}
        try:
            op = self.evaluator.value(names["name"], scope) if "name" in names else None
        except Unresolved:
            op = None
        cls = names.get("_decorated_op_cls", call.args[0] if call.args else None)
        if isinstance(op, str) and cls is not None:
            place = f"{self.module.path}:{call.lineno}"
            self.out.ops.append(OutOfTreeOp(op=op, class_name=ast.unparse(cls), owner=self.out.owner, place=place))

    def _tables(self, name: str, value: ast.expr, function: str) -> None:
        """Tables of custom ops (`..._OPS`) and of module replacements in an import hook."""
        if not isinstance(value, ast.Dict):
            return
        rows = [(k.value, v) for k, v in zip(value.keys, value.values, strict=True) if isinstance(k, ast.Constant)]
        for key, item in rows:
            place = f"{self.module.path}:{item.lineno}"
            if name.upper().endswith("OPS") and isinstance(item, ast.Name):
                op = OutOfTreeOp(op=str(key), class_name=item.id, owner=self.out.owner, place=place)
                self.out.ops.append(op)
            elif (
                b"__import__" in (self.module.source or b"")
                and isinstance(key, str)
                and key.startswith("vllm.")
                and isinstance(item, ast.Constant)
                and str(item.value).startswith(f"{self.package.name}.")
            ):
                hook = ImportHook(module=key, replacement=str(item.value), owner=self.out.owner, place=place)
                if (hook.module, hook.replacement) not in {(h.module, h.replacement) for h in self.out.hooks}:
                    self.out.hooks.append(hook)

    def _unread(self, node: ast.stmt | ast.expr, why: str) -> None:
        self.out.findings.append(
            Finding(
                code="R005",
                severity=Severity.WARNING,
                place=f"{self.module.path}:{node.lineno}",
                message=f"a registration that cannot be read from the source: {why}",
                next_step="Ask the engine itself what it registers.",
            )
        )


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _imported(module: Module) -> dict[str, str]:
    """Every name an import statement anywhere in the module binds, to its absolute dotted name."""
    names: dict[str, str] = {}
    for node in ast.walk(module.tree) if module.tree is not None else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                names[alias.asname or alias.name] = f"{base}.{alias.name}"
    return names
