"""Edits of a registration that keep every other byte of the file. Import only where LibCST is known to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst
from libcst.metadata import PositionProvider

REGISTRY = "ModelRegistry"


def _string(node: cst.BaseExpression | None) -> str | None:
    value = node.evaluated_value if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)) else None
    return value if isinstance(value, str) else None


def _quoted(like: cst.BaseExpression, value: str) -> cst.SimpleString:
    """A string literal in the quotes of another."""
    quote = like.value[0] if isinstance(like, cst.SimpleString) and like.value[:1] in "'\"" else '"'
    return cst.SimpleString(f"{quote}{value}{quote}")


class AddCall(cst.CSTTransformer):
    """Repeats the `register_model` call that begins at a line, with another architecture and class, below it."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, line: int, architecture: str, path: str) -> None:
        super().__init__()
        self.line, self.architecture, self.path = line, architecture, path
        self.done = False

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        statement = original_node.body[0]
        if not isinstance(statement, cst.Expr) or not isinstance(statement.value, cst.Call):
            return updated_node
        call = statement.value
        if self.get_metadata(PositionProvider, call).start.line != self.line or len(call.args) != 2:
            return updated_node
        arguments = [
            argument.with_changes(value=_quoted(argument.value, value))
            for argument, value in zip(call.args, self._values(call.args), strict=True)
        ]
        again = statement.with_changes(value=call.with_changes(args=arguments))
        copy = original_node.with_changes(body=[again], leading_lines=[], trailing_whitespace=cst.TrailingWhitespace())
        self.done = True
        return cst.FlattenSentinel([updated_node, copy])

    def _values(self, arguments: Sequence[cst.Arg]) -> list[str]:
        order = [a.keyword.value if a.keyword else None for a in arguments]
        swapped = order[0] == "model_cls"
        return [self.path, self.architecture] if swapped else [self.architecture, self.path]


class AddRow(cst.CSTTransformer):
    """Adds a row to the table (a dict, or a list of pairs) that holds one of `rows`, in the form of its last row."""

    def __init__(self, rows: Mapping[str, str], architecture: str, path: str) -> None:
        super().__init__()
        self.rows, self.architecture, self.path = rows, architecture, path
        self.done = False

    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.BaseExpression:
        elements = list(updated_node.elements)
        known = any(
            isinstance(e, cst.DictElement) and self.rows.get(_string(e.key) or "") == (_string(e.value) or "-")
            for e in elements
        )
        last = elements[-1] if elements else None
        if self.done or not known or not isinstance(last, cst.DictElement):
            return updated_node
        new = last.with_changes(key=_quoted(last.key, self.architecture), value=_quoted(last.value, self.path))
        self.done = True
        return updated_node.with_changes(elements=_with_last(elements, new))

    def leave_List(self, original_node: cst.List, updated_node: cst.List) -> cst.BaseExpression:
        return self._pairs(updated_node)

    def leave_Tuple(self, original_node: cst.Tuple, updated_node: cst.Tuple) -> cst.BaseExpression:
        return self._pairs(updated_node)

    def _pairs(self, node: cst.List | cst.Tuple) -> cst.BaseExpression:
        elements = list(node.elements)
        pairs = [e.value for e in elements if isinstance(e.value, (cst.Tuple, cst.List)) and len(e.value.elements) == 2]
        known = any(
            self.rows.get(_string(p.elements[0].value) or "") == (_string(p.elements[1].value) or "-") for p in pairs
        )
        if self.done or not known or len(pairs) != len(elements):
            return node
        first, second = pairs[-1].elements
        pair = pairs[-1].with_changes(
            elements=[
                first.with_changes(value=_quoted(first.value, self.architecture)),
                second.with_changes(value=_quoted(second.value, self.path)),
            ]
        )
        self.done = True
        return node.with_changes(elements=_with_last(elements, elements[-1].with_changes(value=pair)))


def _with_last(elements: list, new: cst.BaseElement | cst.BaseDictElement) -> list:  # type: ignore[type-arg]
    """The elements and a new last one; the one before it gets the comma it needs, with the table's own spacing."""
    between = elements[-2].comma if len(elements) > 1 else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [*elements[:-1], elements[-1].with_changes(comma=between), new]


class AddToFunction(cst.CSTTransformer):
    """Appends an import of the registry and a registration to a module-level function; no `pass` is left before it."""

    def __init__(self, function: str, architecture: str, path: str) -> None:
        super().__init__()
        self.function, self.architecture, self.path = function, architecture, path
        self.done = False
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._depth += 1

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._depth += 1

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        self._depth -= 1
        return updated_node

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        self._depth -= 1
        if self._depth or self.done or original_node.name.value != self.function:
            return updated_node
        if not isinstance(updated_node.body, cst.IndentedBlock):
            return updated_node
        kept = [s for s in updated_node.body.body if not _is_pass(s)]
        if kept and _returns(kept[-1]):
            return updated_node
        known = any(_imports_registry(s) for s in kept)
        new = [] if known else [cst.parse_statement(f"from vllm import {REGISTRY}\n")]
        text = f'{REGISTRY}.register_model("{self.architecture}", "{self.path}")\n'
        if 4 + len(text) > 88:
            text = f'{REGISTRY}.register_model(\n    "{self.architecture}",\n    "{self.path}",\n)\n'
        call = cst.parse_statement(text)
        if not known:
            new[0] = new[0].with_changes(leading_lines=[cst.EmptyLine(indent=False)]) if kept else new[0]
            call = call.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
        self.done = True
        return updated_node.with_changes(body=updated_node.body.with_changes(body=[*kept, *new, call]))


def _is_pass(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and all(isinstance(s, cst.Pass) for s in statement.body)


def _returns(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and any(isinstance(s, cst.Return) for s in statement.body)


def _imports_registry(statement: cst.BaseStatement) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    return any(
        isinstance(s, cst.ImportFrom)
        and not isinstance(s.names, cst.ImportStar)
        and any(isinstance(n.name, cst.Name) and n.name.value == REGISTRY for n in s.names)
        for s in statement.body
    )
