"""A reader of constant expressions: what a module-level table works out to, by its syntax tree alone.

In: a parsed module. Out: Python values for the expressions a registry is written in (dict displays with `**` spreads,
comprehensions over `.items()`, names of the same module, f-strings, string methods, small pure functions, record
constructors). Refuses anything else by `Unresolved`, with the line; nothing is imported or called.

One method per kind of expression, all of one class, hence the length.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

STEP_LIMIT = 2_000_000
SIZE_LIMIT = 1_000_000  # characters or elements of one value
STRING_METHODS = {
    "startswith",
    "endswith",
    "removeprefix",
    "removesuffix",
    "replace",
    "split",
    "lower",
    "upper",
    "strip",
}
VIEWS: dict[str, Callable[[dict[Any, Any]], list[Any]]] = {
    "items": lambda d: list(d.items()),
    "keys": list,
    "values": lambda d: list(d.values()),
}


class Unresolved(Exception):
    """The expression is beyond this reader."""

    def __init__(self, node: ast.AST, why: str) -> None:
        self.line = getattr(node, "lineno", 0)
        super().__init__(f"line {self.line}: {why}")


class Made(dict[str, Any]):
    """What a constructor call was given: keyword arguments by name, positional ones by "0", "1", ... and "call"."""


class _Return(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class Evaluator:
    """Evaluates expressions of one module. Module-level assignments are looked up by name, the last one counts."""

    def __init__(self, module: ast.Module) -> None:
        self._assigned: dict[str, ast.expr] = {}
        self._functions: dict[str, ast.FunctionDef] = {}
        self._values: dict[str, Any] = {}
        self._busy: set[str] = set()
        self._steps = 0
        for node in module.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._assigned[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self._assigned[node.target.id] = node.value
            elif isinstance(node, ast.FunctionDef):
                self._functions[node.name] = node

    def __contains__(self, name: str) -> bool:
        return name in self._assigned

    def node(self, name: str) -> ast.expr:
        """The expression assigned to a module-level name; KeyError if there is none."""
        return self._assigned[name]

    def name(self, name: str) -> Any:
        """The value of a module-level name."""
        if name in self._values:
            return self._values[name]
        if name not in self._assigned:
            raise KeyError(name)
        node = self._assigned[name]
        if name in self._busy:
            raise Unresolved(node, f"{name} is defined by itself")
        self._busy.add(name)
        try:
            self._values[name] = self.value(node, {})
        finally:
            self._busy.discard(name)
        return self._values[name]

    def value(self, node: ast.expr, local: Mapping[str, Any]) -> Any:
        """The value of an expression, `local` names first."""
        self._steps += 1
        if self._steps > STEP_LIMIT:
            raise Unresolved(node, "the expression is too large")
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise Unresolved(node, f"{ast.unparse(node)[:60]!r} is not a constant expression")
        try:
            found = method(node, local)
        except (TypeError, ValueError, AttributeError, RecursionError, OverflowError) as exc:
            raise Unresolved(node, f"{ast.unparse(node)[:60]!r}: {exc}") from exc
        if isinstance(found, (str, bytes, list, tuple, dict)) and len(found) > SIZE_LIMIT:
            # Doubled often enough, a few lines would fill the memory.
            raise Unresolved(node, "the value is too large")
        return found

    def _constant(self, node: ast.Constant, _local: Mapping[str, Any]) -> Any:
        return node.value

    def _name(self, node: ast.Name, local: Mapping[str, Any]) -> Any:
        if node.id in local:
            return local[node.id]
        try:
            return self.name(node.id)
        except KeyError:
            raise Unresolved(node, f"{node.id} is not a constant of this module") from None

    def _tuple(self, node: ast.Tuple, local: Mapping[str, Any]) -> Any:
        return tuple(self._elements(node.elts, local))

    def _list(self, node: ast.List, local: Mapping[str, Any]) -> Any:
        return list(self._elements(node.elts, local))

    def _set(self, node: ast.Set, local: Mapping[str, Any]) -> Any:
        return self._elements(node.elts, local)

    def _elements(self, elements: list[ast.expr], local: Mapping[str, Any]) -> list[Any]:
        out: list[Any] = []
        for element in elements:
            if isinstance(element, ast.Starred):
                out.extend(self.value(element.value, local))
            else:
                out.append(self.value(element, local))
        return out

    def _dict(self, node: ast.Dict, local: Mapping[str, Any]) -> Any:
        out: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                spread = self.value(value, local)
                if not isinstance(spread, dict) or isinstance(spread, Made):
                    raise Unresolved(value, "a ** spread of something that is not a table")
                out.update(spread)
            else:
                out[self._hashable(key, local)] = self.value(value, local)
        return out

    def _hashable(self, node: ast.expr, local: Mapping[str, Any]) -> Any:
        value = self.value(node, local)
        if not isinstance(value, (str, int, float, bool, tuple, type(None))):
            raise Unresolved(node, "a key that is not a constant")
        return value

    def _dictcomp(self, node: ast.DictComp, local: Mapping[str, Any]) -> Any:
        scopes = self._loop(node.generators, dict(local))
        return {self._hashable(node.key, s): self.value(node.value, s) for s in scopes}

    def _listcomp(self, node: ast.ListComp, local: Mapping[str, Any]) -> Any:
        return [self.value(node.elt, s) for s in self._loop(node.generators, dict(local))]

    def _generatorexp(self, node: ast.GeneratorExp, local: Mapping[str, Any]) -> Any:
        return [self.value(node.elt, s) for s in self._loop(node.generators, dict(local))]

    def _loop(self, generators: list[ast.comprehension], local: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not generators:
            yield local
            return
        first, rest = generators[0], generators[1:]
        for item in self.iterable(first.iter, local):
            scope = {**local, **self.bind(first.target, item)}
            if all(self.value(test, scope) for test in first.ifs):
                yield from self._loop(rest, scope)

    def iterable(self, node: ast.expr, local: Mapping[str, Any]) -> list[Any]:
        """The items of something a `for` runs over."""
        value = self.value(node, local)
        if isinstance(value, (dict, list, tuple)) and not isinstance(value, Made):
            return list(value)
        raise Unresolved(node, "a loop over something that is not a constant collection")

    def bind(self, target: ast.expr, item: Any) -> dict[str, Any]:
        """Names that a loop or assignment target gets from `item`."""
        if isinstance(target, ast.Name):
            return {target.id: item}
        if isinstance(target, (ast.Tuple, ast.List)) and isinstance(item, (tuple, list)):
            if len(target.elts) != len(item):
                raise Unresolved(target, "unpacks another number of values")
            out: dict[str, Any] = {}
            for part, value in zip(target.elts, item, strict=True):
                out.update(self.bind(part, value))
            return out
        raise Unresolved(target, "a target that is not a name")

    def _binop(self, node: ast.BinOp, local: Mapping[str, Any]) -> Any:
        left, right = self.value(node.left, local), self.value(node.right, local)
        if isinstance(node.op, ast.BitOr) and isinstance(left, dict) and isinstance(right, dict):
            return {**left, **right}
        if isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, (str, list, tuple)):
            return left + right
        raise Unresolved(node, f"{ast.unparse(node)[:60]!r} is not a constant expression")

    def _boolop(self, node: ast.BoolOp, local: Mapping[str, Any]) -> Any:
        """As in Python the value of the operand that decides, not its truth."""
        found: Any = None
        for operand in node.values:
            found = self.value(operand, local)
            if bool(found) is isinstance(node.op, ast.Or):
                break
        return found

    def _unaryop(self, node: ast.UnaryOp, local: Mapping[str, Any]) -> Any:
        if isinstance(node.op, ast.Not):
            return not self.value(node.operand, local)
        operand = self.value(node.operand, local)
        if isinstance(node.op, ast.USub) and isinstance(operand, (int, float)):
            return -operand
        raise Unresolved(node, "an operator on a value")

    def _compare(self, node: ast.Compare, local: Mapping[str, Any]) -> Any:
        left = self.value(node.left, local)
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node, local)
            if isinstance(operator, (ast.Eq, ast.NotEq)):
                holds = (left == right) is isinstance(operator, ast.Eq)
            elif isinstance(operator, (ast.In, ast.NotIn)) and isinstance(right, (str, list, tuple, dict)):
                holds = (left in right) is isinstance(operator, ast.In)
            elif isinstance(operator, (ast.Is, ast.IsNot)) and right is None:
                holds = (left is None) is isinstance(operator, ast.Is)
            else:
                raise Unresolved(node, f"the comparison {ast.unparse(node)[:60]!r}")
            if not holds:
                return False
            left = right
        return True

    def _ifexp(self, node: ast.IfExp, local: Mapping[str, Any]) -> Any:
        return self.value(node.body if self.value(node.test, local) else node.orelse, local)

    def _joinedstr(self, node: ast.JoinedStr, local: Mapping[str, Any]) -> Any:
        parts = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if part.conversion != -1 or part.format_spec is not None:
                    raise Unresolved(part, "a formatted value with a conversion")
                parts.append(str(self.value(part.value, local)))
            else:
                parts.append(str(self.value(part, local)))
        return "".join(parts)

    def _subscript(self, node: ast.Subscript, local: Mapping[str, Any]) -> Any:
        value, index = self.value(node.value, local), self.value(node.slice, local)
        try:
            return value[index]
        except (KeyError, IndexError, TypeError):
            raise Unresolved(node, f"{ast.unparse(node)[:60]!r} has no such element") from None

    def _call(self, node: ast.Call, local: Mapping[str, Any]) -> Any:
        function = node.func
        if isinstance(function, ast.Attribute) and not isinstance(function.value, ast.Attribute):
            try:
                owner = self.value(function.value, local)
            except Unresolved:
                owner = None
            if isinstance(owner, dict) and not isinstance(owner, Made) and function.attr in VIEWS and not node.args:
                return VIEWS[function.attr](owner)
            if isinstance(owner, str) and function.attr in STRING_METHODS:
                return getattr(owner, function.attr)(*[self.value(a, local) for a in node.args])
        if isinstance(function, ast.Name) and function.id in ("dict", "list", "tuple", "set", "sorted"):
            return self._builtin(function.id, node, local)
        if isinstance(function, ast.Name) and function.id in self._functions:
            return self._inline(self._functions[function.id], node, local)
        made = Made(call=ast.unparse(function).split(".")[-1])
        for place, argument in enumerate(node.args):
            made[str(place)] = self.value(argument, local)
        for keyword in node.keywords:
            if keyword.arg is None:
                raise Unresolved(node, "a call with ** arguments")
            made[keyword.arg] = self.value(keyword.value, local)
        return made

    def _builtin(self, name: str, node: ast.Call, local: Mapping[str, Any]) -> Any:
        arguments = [self.value(a, local) for a in node.args]
        if name == "dict":
            out = dict(arguments[0]) if arguments else {}
            for keyword in node.keywords:
                value = self.value(keyword.value, local)
                out.update(value if keyword.arg is None else {keyword.arg: value})
            return out
        items = list(arguments[0]) if arguments else []
        return tuple(items) if name == "tuple" else sorted(items) if name == "sorted" else items

    def _inline(self, function: ast.FunctionDef, node: ast.Call, local: Mapping[str, Any]) -> Any:
        names = [a.arg for a in function.args.args]
        if len(node.args) + len(node.keywords) != len(names) or any(k.arg not in names for k in node.keywords):
            raise Unresolved(node, f"a call of {function.name} with other arguments than it has")
        scope = dict(zip(names, (self.value(a, local) for a in node.args), strict=False))
        scope.update({str(k.arg): self.value(k.value, local) for k in node.keywords})
        try:
            self._run(function.body, scope)
        except _Return as end:
            return end.value
        return None

    def _run(self, body: list[ast.stmt], scope: dict[str, Any]) -> None:
        for statement in body:
            if isinstance(statement, ast.Return):
                raise _Return(self.value(statement.value, scope) if statement.value else None)
            if isinstance(statement, ast.If):
                self._run(statement.body if self.value(statement.test, scope) else statement.orelse, scope)
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                scope.update(self.bind(statement.targets[0], self.value(statement.value, scope)))
            elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                raise Unresolved(statement, "a function that does more than choose a value")
