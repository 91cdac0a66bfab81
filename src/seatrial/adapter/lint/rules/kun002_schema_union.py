"""KUN002: `T | None` in an operator's signature, where torch infers the schema."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile, keyword, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

DECORATORS = {"custom_op", "impl_abstract", "register_fake"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, FUNCTIONS) or file.plugin.mends_schemas or not _is_operator(node, file):
        return
    arguments = node.args
    annotations = [a.annotation for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    for annotation in [*annotations, node.returns]:
        inner = _optional(annotation)
        if annotation is None or inner is None:
            continue
        start, end = file.span(annotation)
        edits = ((start, end, f"Optional[{file.text(inner)}]"), *file.add_import("typing", "Optional"))
        yield Hit(
            annotation,
            f"{file.text(annotation)}: torch 2.5's infer_schema takes Optional[{file.text(inner)}] only",
            edits,
        )


def _optional(node: ast.expr | None) -> ast.expr | None:
    """The T of `T | None` or `None | T`."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.BitOr):
        return None
    if isinstance(node.right, ast.Constant) and node.right.value is None:
        return node.left
    return node.right if isinstance(node.left, ast.Constant) and node.left.value is None else None


def _is_operator(node: ast.AST, file: LintFile) -> bool:
    """Whether the function is registered: by a decorator, or as `op_func` of direct_register_custom_op."""
    if not isinstance(node, FUNCTIONS):
        return False
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if last(called) in DECORATORS:
            return True
    for call in file.by_type.get(ast.Call, ()):
        if isinstance(call, ast.Call) and last(call.func) == "direct_register_custom_op":
            given = keyword(call, "op_func") or (call.args[1] if len(call.args) > 1 else None)
            if last(given) == node.name:
                return True
    return False


_PATH = "vllm_kunlun/ops/_custom_ops.py"
_REGISTER = '\n\ndirect_register_custom_op(op_name="f", op_func=f, mutates_args=[], fake_impl=f_fake)\n'


def _case(code: str, hits: tuple[int, ...] = (), fixed: str = "", others: dict[str, str] | None = None) -> Case:
    return Case(
        code=code + _REGISTER, hits=hits, fixed=fixed + _REGISTER if fixed else "", path=_PATH, others=others or {}
    )


_T = "import torch\n\n\n"
_O = "import torch\nfrom typing import Optional\n\n\n"

RULE = Rule(
    code="KUN002",
    name="schema-union",
    summary="A custom operator's signature says `T | None`.",
    why="vLLM-Kunlun runs on torch 2.5, whose `infer_schema` knows `Optional[T]` and not the union operator: registration "
    "fails at import. A plugin that patches the annotations first (`patch_annotations_for_schema`) is left alone.",
    mend="Write `Optional[T]`.",
    nodes=(ast.FunctionDef,),
    check=check,
    needles=(b"direct_register_custom_op", b"custom_op"),
    platforms=("kunlun",),
    fixable=True,
    good=(
        _case("def f(x: torch.Tensor, b: Optional[torch.Tensor] = None) -> torch.Tensor: ..."),
        _case("def f(x: torch.Tensor) -> torch.Tensor: ...\n\n\ndef helper(n: int | None): ..."),
        _case("def f(x: torch.Tensor, n: int = 0) -> None: ..."),
        _case(
            "def f(x: torch.Tensor | None): ...",
            others={"vllm_kunlun/schema.py": "def patch_annotations_for_schema(f): ...\n"},
        ),
    ),
    bad=(
        _case(
            f"{_T}def f(x: torch.Tensor, b: torch.Tensor | None = None): ...",
            (4,),
            f"{_O}def f(x: torch.Tensor, b: Optional[torch.Tensor] = None): ...",
        ),
        _case(f"{_O}def f(x: None | int): ...", (5,), f"{_O}def f(x: Optional[int]): ..."),
        _case(
            f"{_T}def f(a: int | None, b: float | None): ...",
            (4, 4),
            f"{_O}def f(a: Optional[int], b: Optional[float]): ...",
        ),
        _case(
            f"{_O}def f(x: torch.Tensor) -> torch.Tensor | None: ...",
            (5,),
            f"{_O}def f(x: torch.Tensor) -> Optional[torch.Tensor]: ...",
        ),
        Case(
            code=f'{_O}@torch.library.custom_op("k::g", mutates_args=())\ndef g(x: torch.Tensor | None) -> int: ...\n',
            hits=(6,),
            path=_PATH,
        ),
    ),
)
