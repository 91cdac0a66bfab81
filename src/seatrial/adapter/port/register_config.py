"""Adds `AutoConfig.register`, or a call of a function, to a plugin's entry point. Import this only with LibCST."""

from __future__ import annotations

import json

import libcst as cst


class AddCall(cst.CSTTransformer):
    """Appends an import and a call of it to a module-level function, unless the import is there already."""

    def __init__(self, function: str, module: str, name: str) -> None:
        super().__init__()
        self.function = function
        self.lines = [f"from {module} import {name}\n", f"{name}()\n"]
        self.known = self.lines[0].strip()
        self.done = False
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._depth += 1

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        self._depth -= 1
        body = updated_node.body
        if self._depth or self.done or original_node.name.value != self.function:
            return updated_node
        if not isinstance(body, cst.IndentedBlock):
            return updated_node
        self.done = True
        if self.known in cst.Module([]).code_for_node(updated_node):
            return updated_node
        new = [
            cst.parse_statement(line).with_changes(leading_lines=[cst.EmptyLine(indent=False)]) for line in self.lines
        ]
        return updated_node.with_changes(body=body.with_changes(body=[*body.body, *new]))


class AddConfig(AddCall):
    """Appends the registration of a config class, unless its model type is there already."""

    def __init__(self, function: str, model_type: str, module: str, class_name: str) -> None:
        super().__init__(function, module, class_name)
        self.known = f"AutoConfig.register({json.dumps(model_type)},"
        self.lines = [
            "from transformers import AutoConfig\n",
            self.lines[0],
            f"AutoConfig.register({json.dumps(model_type)}, {class_name}, exist_ok=True)\n",
        ]
