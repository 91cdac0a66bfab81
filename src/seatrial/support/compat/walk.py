"""One plugin module, statement by statement, with what each place stands under: guards, dead branches, names in sight.

Out: `Site`s (imports, calls, attribute reads, assignments to attributes, classes) of code that can run on this engine.
Code that a version test or `TYPE_CHECKING` rules out is left out; an import that something catches is marked guarded.

One walk with its scopes and guards in sight; cutting it would pass that state around, hence the length.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import NamedTuple

from seatrial.support.compat.truth import Truth
from seatrial.support.modules import Module, absolute, children, each

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
ATTRIBUTE_ERRORS = {"AttributeError", "Exception", "BaseException"}
CALL_ERRORS = {"TypeError", "Exception", "BaseException"}


class Bound(NamedTuple):
    """What a local name stands for: a module (`name` empty) or something imported from one."""

    module: str
    name: str = ""


class Context(NamedTuple):
    """`function`: dotted name, empty at module level. `caught`: exception names that something outside catches.

    `lazy`: inside a function, so that it runs later than the module's import. `certain`: no test or loop that the text
    does not decide is on the way to it.
    """

    function: str
    caught: frozenset[str]
    names: Mapping[str, Bound]
    cls: ast.ClassDef | None
    lazy: bool = False
    certain: bool = True


class Site(NamedTuple):
    """A node and the context it stands in."""

    node: ast.AST
    context: Context

    @property
    def line(self) -> int:
        return int(getattr(self.node, "lineno", 0))


class Sites:
    """What was found in one module."""

    def __init__(self) -> None:
        self.imports: list[Site] = []
        self.calls: list[Site] = []
        self.attributes: list[Site] = []
        self.assigned: list[Site] = []
        self.classes: list[Site] = []
        self.strings: list[Site] = []
        self.raises: list[Site] = []  # those that surely run as the module is imported, with nothing to catch them


class Walk:
    """Walks one module. `import_fails(node)` tells whether an import statement's engine names are missing."""

    def __init__(self, module: Module, truth: Truth, import_fails: Callable[[Module, ast.stmt], bool]) -> None:
        self.module, self._truth, self._fails = module, truth, import_fails
        self.sites = Sites()
        self.took_other_road = False
        self._hidden: frozenset[str] = frozenset()  # names that the functions around a statement have of their own
        self._annotated = b"annotations" not in (module.source or b"") or not any(
            isinstance(n, ast.ImportFrom) and n.module == "__future__" and any(a.name == "annotations" for a in n.names)
            for n in (module.tree.body if module.tree is not None else ())
        )
        self._prefix = module.name.split(".")[0] + "."
        if module.tree is not None:
            names = self._imports_in(module.tree.body)
            self._body(module.tree.body, Context("", frozenset(), names, None))

    def _body(self, body: list[ast.stmt], context: Context) -> bool:
        """Walk statements; True if the end cannot be reached (a return or raise under no doubt)."""
        return any(self._statement(node, context) for node in body)

    def _statement(self, node: ast.stmt, context: Context) -> bool:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self.sites.imports.append(Site(node, context))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._function(node, context)
        elif isinstance(node, ast.ClassDef):
            self._class(node, context)
        elif isinstance(node, ast.If):
            return self._if(node, context)
        elif isinstance(node, ast.Try):
            return self._try(node, context)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            return self._with(node, context)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            self._expressions(node.iter if not isinstance(node, ast.While) else node.test, context)
            perhaps = context._replace(certain=False)
            if not (isinstance(node, ast.While) and self._truth.of(node.test, self.module, self._hidden) is False):
                self._body(node.body, perhaps)
            self._body(node.orelse, perhaps)
        elif isinstance(node, ast.Match):
            self._expressions(node.subject, context)
            for case in node.cases:
                self._body(case.body, context._replace(certain=False))
        else:
            if isinstance(node, ast.Raise) and context.certain and not context.lazy and not context.caught:
                self.sites.raises.append(Site(node, context))
            self._expressions(node, context)
            return isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break))
        return False

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, context: Context) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
            self._expressions(part, context)
        # Annotations run with the `def`, unless the file puts them off.
        for annotation in _annotations(node) if self._annotated else ():
            self._expressions(annotation, context)
        name = f"{context.function}.{node.name}".lstrip(".")
        names = dict(context.names)
        own, outside = _locals(node), self._hidden
        for local in own:
            names.pop(local, None)
        self._hidden = outside | own
        names.update(self._imports_in(node.body))
        self._body(node.body, Context(name, frozenset(), names, context.cls, lazy=True))
        self._hidden = outside

    def _class(self, node: ast.ClassDef, context: Context) -> None:
        self.sites.classes.append(Site(node, context))
        for part in (*node.decorator_list, *node.bases, *(k.value for k in node.keywords)):
            self._expressions(part, context)
        inner = Context(
            f"{context.function}.{node.name}".lstrip("."), context.caught, context.names, node, context.lazy
        )
        self._body(node.body, inner)

    def _if(self, node: ast.If, context: Context) -> bool:
        truth = self._truth.of(node.test, self.module, self._hidden)
        if truth is None:
            self._expressions(node.test, context)
            context = context._replace(certain=False)
        if any(isinstance(n, ast.Name) and n.id == "hasattr" for n in each(node.test)):
            context = context._replace(caught=context.caught | {"AttributeError"})
        ends = []
        for branch, value in ((node.body, True), (node.orelse, False)):
            if truth is None or truth is value:
                ends.append(self._body(branch, context))
        return all(ends) if truth is None and node.orelse else ends == [True] and truth is not None

    def _try(self, node: ast.Try, context: Context) -> bool:
        caught = {name for handler in node.handlers if not _reraises(handler) for name in _caught(handler)}
        self._body(node.body, context._replace(caught=context.caught | caught))
        for handler in node.handlers:
            names = _caught(handler)
            only_imports = names <= {"ImportError", "ModuleNotFoundError"}
            # The other road of a guarded import is taken only if one of the engine's names is missing.
            if not only_imports or self._body_import_fails(node.body):
                self._body(handler.body, context._replace(certain=False))
        if not any(self._fails(self.module, n) for n in node.body if isinstance(n, (ast.Import, ast.ImportFrom))):
            self._body(node.orelse, context._replace(certain=False))
        self._body(node.finalbody, context)
        return False

    def _body_import_fails(self, body: list[ast.stmt]) -> bool:
        imports = [n for s in body for n in each(s) if isinstance(n, (ast.Import, ast.ImportFrom))]
        fails = any(self._fails(self.module, n) for n in imports)
        self.took_other_road = self.took_other_road or fails
        return fails

    def _with(self, node: ast.With | ast.AsyncWith, context: Context) -> bool:
        caught: set[str] = set()
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] == "suppress":
                caught |= {ast.unparse(a).split(".")[-1] for a in call.args}
            self._expressions(call, context)
        ended = self._body(node.body, context._replace(caught=context.caught | caught))
        return ended and not caught

    def _expressions(self, root: ast.AST, context: Context) -> None:
        """Calls and attributes of a statement or expression; a lambda's or comprehension's own names are its own."""
        todo: list[ast.AST] = [root]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.IfExp):
                truth = self._truth.of(node.test, self.module, self._hidden)
                todo += [
                    node.test,
                    *([node.body] if truth is not False else []),
                    *([node.orelse] if truth is not True else []),
                ]
                continue
            if isinstance(node, ast.BoolOp):
                self._operands(node, context)
                continue
            if isinstance(node, SCOPES) and (own := _own_names(node) & context.names.keys()):
                left = {name: bound for name, bound in context.names.items() if name not in own}
                parts: list[ast.AST] = []
                children(node, parts)
                for part in parts:
                    self._expressions(part, context._replace(names=left))
                continue
            if isinstance(node, ast.Call):
                self.sites.calls.append(Site(node, context))
            elif isinstance(node, ast.Attribute):
                site = Site(node, context)
                (self.sites.attributes if isinstance(node.ctx, ast.Load) else self.sites.assigned).append(site)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(self._prefix):
                self.sites.strings.append(Site(node, context))
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                self.sites.assigned.append(Site(node, context))
            children(node, todo)

    def _operands(self, node: ast.BoolOp, context: Context) -> None:
        """Those of an `and` or `or` that can be come to."""
        for operand in node.values:
            self._expressions(operand, context)
            if self._truth.of(operand, self.module, self._hidden) is isinstance(node.op, ast.Or):
                return
            if any(isinstance(n, ast.Name) and n.id == "hasattr" for n in each(operand)):
                context = context._replace(caught=context.caught | {"AttributeError"})

    def _imports_in(self, body: list[ast.stmt]) -> dict[str, Bound]:
        """Names that imports among these statements (not in nested functions) bind, on branches that can run."""
        names: dict[str, Bound] = {}
        todo: list[ast.stmt] = list(reversed(body))
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name if alias.asname else alias.name.split(".")[0]
                    names[alias.asname or top] = Bound(top)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    names[alias.asname or alias.name] = Bound(absolute(self.module, node), alias.name)
            elif isinstance(node, ast.If):
                truth = self._truth.of(node.test, self.module, self._hidden)
                todo += reversed(
                    [*(node.body if truth is not False else []), *(node.orelse if truth is not True else [])]
                )
            elif isinstance(node, ast.Try):
                handlers = [s for h in node.handlers for s in h.body]
                todo += reversed([*node.body, *handlers, *node.orelse, *node.finalbody])
            elif isinstance(node, (ast.With, ast.For, ast.While)):
                for name in _stores(node.target) if isinstance(node, ast.For) else ():
                    names.pop(name, None)
                todo += reversed(node.body)
            elif isinstance(node, DEFINITIONS):
                names.pop(node.name, None)
            elif isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        names.pop(target.id, None)
        return names


def _stores(root: ast.AST) -> set[str]:
    return {n.id for n in each(root) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _own_names(node: ast.AST) -> set[str]:
    """Names of a lambda's parameters or a comprehension's loops."""
    if isinstance(node, ast.Lambda):
        return {n.arg for n in each(node.args) if isinstance(n, ast.arg)}
    return _stores(node)


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    found = [a.annotation for a in every if a is not None] + [node.returns]
    return [annotation for annotation in found if annotation is not None]


def _locals(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Parameters of a function, and the names that it assigns, defines or catches."""
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    found = {a.arg for a in every if a is not None}
    for inner in each(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
        else:
            defined = isinstance(inner, DEFINITIONS) and inner is not node
            name = inner.name if isinstance(inner, (*DEFINITIONS, ast.ExceptHandler)) else None
            if name and (defined or isinstance(inner, ast.ExceptHandler)):
                found.add(name)
    return found


def _caught(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {"BaseException", "Exception"}
    parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {ast.unparse(p).split(".")[-1] for p in parts}


def _reraises(handler: ast.ExceptHandler) -> bool:
    """Whether the handler ends by raising again."""
    return bool(handler.body) and isinstance(handler.body[-1], ast.Raise)
