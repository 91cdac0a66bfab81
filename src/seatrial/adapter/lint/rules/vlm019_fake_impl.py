"""VLM019: a custom operator that torch.compile cannot trace."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, keyword, last
from seatrial.adapter.lint.rule import Case, Hit, Rule


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or last(node.func) != "direct_register_custom_op":
        return
    fake = keyword(node, "fake_impl")
    given = fake is not None and not (isinstance(fake, ast.Constant) and fake.value is None)
    if given or len(node.args) >= 4 or any(k.arg is None for k in node.keywords):
        return
    name = keyword(node, "op_name") or (node.args[0] if node.args else None)
    called = str(name.value) if isinstance(name, ast.Constant) and isinstance(name.value, str) else "the operator"
    yield Hit(node, f"{called} is registered without fake_impl: torch.compile stops at it")


_FULL = 'direct_register_custom_op(\n    op_name="my_op",\n    op_func=my_op,\n    mutates_args=[],\n    fake_impl=my_op_fake,\n)\n'

RULE = Rule(
    code="VLM019",
    name="operator-without-fake",
    summary="A custom operator is registered without a fake implementation.",
    why="A custom op has three pieces: implementation, fake for torch.compile (shapes and types only), registration. "
    "Without the second, tracing raises, or falls back to a graph break at every call.",
    mend="Write `NAME_fake` with the same signature that returns empty tensors, and pass it as `fake_impl`.",
    nodes=(ast.Call,),
    check=check,
    needles=(b"direct_register_custom_op",),
    off_because="an operator that is only called outside compiled regions needs none, and vLLM has dozens of those",
    good=(
        Case(code=_FULL),
        Case(code='direct_register_custom_op("my_op", my_op, ["out"], my_op_fake)\n'),
        Case(
            code='direct_register_custom_op(op_name="a", op_func=a, fake_impl=lambda x: x, dispatch_key="PrivateUse1")\n'
        ),
        Case(code="direct_register_custom_op(**OPS[name])\n"),
    ),
    bad=(
        Case(code='direct_register_custom_op(op_name="my_op", op_func=my_op, mutates_args=[])\n', hits=(1,)),
        Case(code='direct_register_custom_op("my_op", my_op, ["out"])\n', hits=(1,)),
        Case(code='direct_register_custom_op(op_name="my_op", op_func=my_op, fake_impl=None)\n', hits=(1,)),
        Case(code='utils.direct_register_custom_op(op_name=NAME, op_func=f, dispatch_key="NPU")\n', hits=(1,)),
    ),
)
