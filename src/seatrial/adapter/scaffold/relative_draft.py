"""Which draft (MTP) architecture vLLM takes for a supported one, by the text of its own rule.

`SpeculativeConfig.hf_config_override` turns a model's config into its draft's, by `if`s over model type and name. They
are followed here with the two names known and nothing imported; a branch whose condition they do not decide is
not taken. Out: the draft's architecture, or "" where the rule names none or leaves it open.
"""

from __future__ import annotations

import ast

from seatrial.support.source import Trees

PLACE = "vllm/config/speculative.py"
FUNCTION = "hf_config_override"


def relative_draft(trees: Trees, architecture: str, model_type: str) -> str:
    """The name of the draft's architecture; "" for none."""
    text = trees.read(PLACE)
    if text is None:
        return ""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ""
    rule = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == FUNCTION), None)
    if rule is None:
        return ""
    follower = _Follower(architecture, model_type)
    follower.run(rule.body)
    return follower.architecture if follower.architecture != architecture else ""


class _Follower:
    """Goes through the statements with what is known; `names` are variables whose value was seen."""

    def __init__(self, architecture: str, model_type: str) -> None:
        self.architecture, self.model_type = architecture, model_type
        self.names: dict[str, object] = {}

    def run(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, ast.If):
                truth = self.value(statement.test)
                if truth is True:
                    self.run(statement.body)
                elif truth is False:
                    self.run(statement.orelse)
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                self.assign(statement.targets[0], statement.value)
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                self.update(statement.value)

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if ast.unparse(target) == "hf_config.model_type":
            known = self.value(value)
            self.model_type = known if isinstance(known, str) else ""
        elif isinstance(target, ast.Name) and target.id != "hf_config":
            self.names[target.id] = self.value(value)

    def update(self, call: ast.Call) -> None:
        """`hf_config.update({..., "architectures": [NAME]})`."""
        if ast.unparse(call.func) != "hf_config.update" or not call.args or not isinstance(call.args[0], ast.Dict):
            return
        for key, value in zip(call.args[0].keys, call.args[0].values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "architectures":
                known = self.value(value)
                first = known[0] if isinstance(known, tuple) and known else None
                self.architecture = first if isinstance(first, str) else ""

    def value(self, node: ast.expr) -> object:
        """What an expression gives; None where the two names do not decide it."""
        text = ast.unparse(node)
        if text == "hf_config.model_type":
            return self.model_type
        if text in ("hf_config.architectures[0]", "initial_architecture"):
            return self.architecture if text.startswith("hf") else self.names.get(text, self.architecture)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.NamedExpr):
            self.names[node.target.id] = self.value(node.value)
            return self.names[node.target.id]
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return tuple(self.value(element) for element in node.elts)
        if isinstance(node, ast.IfExp):
            truth = self.value(node.test)
            return None if not isinstance(truth, bool) else self.value(node.body if truth else node.orelse)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            truth = self.value(node.operand)
            return None if not isinstance(truth, bool) else not truth
        if isinstance(node, ast.BoolOp):
            return self._joined(node)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._compared(self.value(node.left), node.ops[0], self.value(node.comparators[0]))
        return None

    def _joined(self, node: ast.BoolOp) -> bool | None:
        """`and` is false as soon as one part is, `or` true; otherwise every part must be known."""
        parts = [self.value(part) for part in node.values]
        decides = isinstance(node.op, ast.Or)
        if any(part is decides for part in parts):
            return decides
        return (not decides) if all(isinstance(part, bool) for part in parts) else None

    @staticmethod
    def _compared(left: object, how: ast.cmpop, right: object) -> bool | None:
        if left is None or right is None:
            return None
        if isinstance(how, (ast.Eq, ast.NotEq)):
            return (left == right) == isinstance(how, ast.Eq)
        if isinstance(how, (ast.In, ast.NotIn)) and isinstance(right, (tuple, str)):
            found = left in right if isinstance(right, tuple) else isinstance(left, str) and left in right
            return found == isinstance(how, ast.In)
        return None
