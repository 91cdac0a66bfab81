"""CUDA by name in a model file, as the platform has it. Import this only where LibCST is there.

In: a module's tree, the ground. Out: the tree with the device's name and `torch.cuda.X` replaced where the ground
proves the other side, and an `Edit` for every place. What a test on CUDA guards is left alone: that branch is not the
platform's. So is what is assigned to (`torch.cuda.Event = ...`).
"""

from __future__ import annotations

import libcst as cst
from libcst.metadata import PositionProvider

from seatrial.adapter.port.edit import Edit
from seatrial.adapter.port.ground import Ground

CUDA = "cuda"
GUARDS = ("cuda", "rocm", "nvidia")


def names_devices(ground: Ground) -> bool:
    """Whether the platform's table says anything of devices: not where the device is called `cuda`."""
    return bool(ground.table.namespace) or ground.table.device is not None


class Devices(cst.CSTTransformer):
    """Visit a module with it; `edits` are the places, and `needs_import` asks for `with_import` afterwards."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, ground: Ground, module: cst.Module) -> None:
        cst.CSTTransformer.__init__(self)
        taken = _binds_other(module, ground)
        self.on = ground
        self.edits: list[Edit] = []
        self.needs_import = False
        self._guarded = 0
        self._device = ground.device()
        if taken and not self._device.reason:
            self._device = self._device._replace(reason=taken)

    def visit_If_body(self, node: cst.If) -> None:
        self._guarded += _asks_for_cuda(node.test)

    def leave_If_body(self, node: cst.If) -> None:
        self._guarded -= _asks_for_cuda(node.test)

    def visit_IfExp_body(self, node: cst.IfExp) -> None:
        self._guarded += _asks_for_cuda(node.test)

    def leave_IfExp_body(self, node: cst.IfExp) -> None:
        self._guarded -= _asks_for_cuda(node.test)

    def visit_AssignTarget(self, node: cst.AssignTarget) -> bool:
        return not _dotted(node.target).startswith("torch.cuda.")

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        old = _dotted(original_node)
        for space in self.on.table.namespace:
            name = old.removeprefix(f"{space.module}.")
            if self._guarded or name == old or "." in name:
                continue
            place = self.on.used(f"{space.to}.{name}")
            if place:
                self._note(original_node, old, f"{space.to}.{name}", f"as in {place}")
                return updated_node.with_changes(value=_expression(space.to))
            self._note(original_node, old, "", f"the plugin uses no {space.to}.{name} itself")
        return updated_node

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        if original_node.keyword is None or original_node.keyword.value != "device":
            return updated_node
        return updated_node.with_changes(value=self._value(original_node.value, updated_node.value))

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        if original_node.name.value != "device" or original_node.default is None or updated_node.default is None:
            return updated_node
        return updated_node.with_changes(default=self._value(original_node.default, updated_node.default))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        func = original_node.func
        if not isinstance(func, cst.Attribute) or not isinstance(updated_node.func, cst.Attribute):
            return updated_node
        first = original_node.args[0] if original_node.args else None
        if (func.attr.value == "to" or _dotted(func) == "torch.device") and first is not None and not first.keyword:
            value = self._value(first.value, updated_node.args[0].value)
            return updated_node.with_changes(
                args=[updated_node.args[0].with_changes(value=value), *updated_node.args[1:]]
            )
        if func.attr.value == CUDA and _dotted(func) != "torch.cuda" and not self._guarded:
            text = f"{_code(func)}()"
            if first is not None and not first.keyword:
                self._note(original_node, text, "", "it names a device by its number")
            elif self._put(original_node, text, f"{_code(func.value)}.to({self._device.expression})"):
                comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")) if first else cst.MaybeSentinel.DEFAULT
                device = cst.Arg(cst.parse_expression(self._device.expression), comma=comma)
                to = updated_node.func.with_changes(attr=cst.Name("to"))
                return updated_node.with_changes(func=to, args=[device, *updated_node.args])
        return updated_node

    def _value(self, original: cst.BaseExpression, updated: cst.BaseExpression) -> cst.BaseExpression:
        """The platform's expression in place of the string "cuda"."""
        text = original.evaluated_value if isinstance(original, cst.SimpleString) else None
        if not isinstance(text, str) or text.split(":")[0] != CUDA or self._guarded:
            return updated
        if text != CUDA:
            self._note(original, repr(text), "", "it names a device by its number")
            return updated
        if not self._put(original, repr(text), self._device.expression):
            return updated
        return cst.parse_expression(self._device.expression)

    def _put(self, node: cst.CSTNode, old: str, new: str) -> bool:
        if self._device.reason:
            self._note(node, old, "", self._device.reason)
            return False
        self.needs_import = True
        self._note(node, old, new, self._device.proof)
        return True

    def _note(self, node: cst.CSTNode, old: str, new: str, why: str) -> None:
        line = self.get_metadata(PositionProvider, node).start.line
        self.edits.append(Edit(kind="device" if new else "not swapped", line=line, old=old, new=new, reason=why))


def _asks_for_cuda(test: cst.BaseExpression) -> bool:
    """`if current_platform.is_cuda():` and its like, not their negation."""
    text = _code(test)
    return not text.startswith("not ") and any(word in text for word in GUARDS)


def _code(node: cst.CSTNode) -> str:
    return cst.Module(body=[]).code_for_node(node)


def _dotted(node: cst.CSTNode) -> str:
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        left = _dotted(node.value)
        return f"{left}.{node.attr.value}" if left else ""
    return ""


def _expression(dotted: str) -> cst.BaseExpression:
    return cst.parse_expression(dotted)


def _imports(module: cst.Module) -> dict[str, str]:
    """Names bound by the module's own import statements, to where they are from."""
    out: dict[str, str] = {}
    for statement in module.body:
        for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(small, cst.ImportFrom) and not isinstance(small.names, cst.ImportStar):
                for alias in small.names:
                    bound = alias.evaluated_alias or alias.evaluated_name
                    out[bound] = f"{_dotted(small.module) if small.module else ''}.{alias.evaluated_name}"
    return out


def _binds_other(module: cst.Module, ground: Ground) -> str:
    """Why the name that the expression begins with cannot be imported; "" if it can, or is already."""
    device = ground.table.device
    if device is None:
        return ""
    there = _imports(module).get(device.name, "")
    return f"the file's {device.name} is {there}" if there not in ("", f"{device.module}.{device.name}") else ""


def with_import(module: cst.Module, ground: Ground) -> cst.Module:
    """The import below the file's last one that stands before its first class or function."""
    device = ground.table.device
    if device is None or device.name in _imports(module):
        return module
    last = 0
    for number, statement in enumerate(module.body):
        if isinstance(statement, (cst.ClassDef, cst.FunctionDef)):
            break
        if isinstance(statement, cst.SimpleStatementLine) and any(
            isinstance(s, (cst.Import, cst.ImportFrom)) for s in statement.body
        ):
            last = number + 1
    new = cst.parse_statement(f"from {device.module} import {device.name}\n")
    return module.with_changes(body=[*module.body[:last], new, *module.body[last:]])
