"""Adds `AutoConfig.register` to a plugin's entry point. Import this only where LibCST is known to be there."""

from __future__ import annotations

import json

import libcst as cst


class AddConfig(cst.CSTTransformer):
    """Appends the registration of a config class to a module-level function, unless its model type is there already."""

    def __init__(self, function: str, model_type: str, module: str, class_name: str) -> None:
        super().__init__()
        self.function, self.model_type, self.module, self.class_name = function, model_type, module, class_name
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
        text = cst.Module([]).code_for_node(updated_node)
        if f"AutoConfig.register({json.dumps(self.model_type)}," in text:
            return updated_node
        new = [
            cst.parse_statement("from transformers import AutoConfig\n"),
            cst.parse_statement(f"from {self.module} import {self.class_name}\n"),
            cst.parse_statement(
                f"AutoConfig.register({json.dumps(self.model_type)}, {self.class_name}, exist_ok=True)\n"
            ),
        ]
        for place in (0, 1, 2):
            new[place] = new[place].with_changes(leading_lines=[cst.EmptyLine(indent=False)])
        return updated_node.with_changes(body=body.with_changes(body=[*body.body, *new]))
