"""VLM020: a merged layer that the file's weight mapping does not know."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

MERGED = {"QKVParallelLinear", "MergedColumnParallelLinear"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Assign) or not file.is_model or not isinstance(node.value, ast.Call):
        return
    layer = last(node.value.func)
    target = node.targets[0]
    if layer not in MERGED or not isinstance(target, ast.Attribute):
        return
    mapped = _mapped(file)
    if mapped and not any(target.attr in text for text in mapped):
        yield Hit(
            node,
            f"{layer} is kept as {target.attr!r}, which the file's weight mapping does not name: "
            "weights stored apart in the checkpoint never reach it",
        )


def _mapped(file: LintFile) -> list[str]:
    """Strings of the file's stacked mappings and mappers; empty if it has none (a parent class may)."""
    if not any(_is_stacked(n) for n in file.by_type.get(ast.Assign, ())):
        return []
    out = []
    for constant in file.by_type.get(ast.Constant, ()):
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
            if not isinstance(file.parent(constant), (ast.JoinedStr, ast.Expr)):
                out.append(constant.value)
    return out


def _is_stacked(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Assign)
        and any(last(t) == "stacked_params_mapping" for t in node.targets)
        and isinstance(node.value, ast.List)
        and any(isinstance(n, ast.Constant) for n in inside(node.value))
    )


def _file(mapping: str, layers: str) -> str:
    return f"""from torch import nn
from vllm.model_executor.layers.linear import MergedColumnParallelLinear, QKVParallelLinear


class Block(nn.Module):
    def __init__(self, c, prefix=""):
{layers}

    def load_weights(self, weights):
        stacked_params_mapping = [
{mapping}
        ]
"""


_QKV = '            ("qkv_proj", "q_proj", "q"), ("qkv_proj", "k_proj", "k"), ("qkv_proj", "v_proj", "v"),'
_GATE = '            ("gate_up_proj", "gate_proj", 0), ("gate_up_proj", "up_proj", 1),'
_A = '        self.qkv_proj = QKVParallelLinear(c.h, c.d, c.n, prefix=f"{prefix}.qkv_proj")'
_B = '        self.gate_up_proj = MergedColumnParallelLinear(c.h, [c.i] * 2, prefix=f"{prefix}.gate_up_proj")'

RULE = Rule(
    code="VLM020",
    name="unmapped-merged-layer",
    summary="A merged layer is missing from the file's weight mapping.",
    why="Checkpoints hold q, k, v (or gate and up) apart; without an entry in `stacked_params_mapping` their tensors are "
    "skipped or rejected, and the layer keeps what it was initialised with.",
    mend="Add the entries, or ignore the line if the checkpoint holds the merged tensor under this name.",
    nodes=(ast.Assign,),
    check=check,
    needles=(b"stacked_params_mapping",),
    off_because="whether the checkpoint holds the merged tensor itself cannot be read from the code: in vLLM's models it "
    "mostly does. `seatrial dry` decides it from the checkpoint",
    good=(
        Case(code=_file(f"{_QKV}\n{_GATE}", f"{_A}\n{_B}")),
        Case(code=_file(_QKV, _A)),
        Case(code=_file(_GATE, _B)),
        Case(
            code="""from torch import nn
from vllm.model_executor.layers.linear import QKVParallelLinear


class Block(nn.Module):  # its model's file has the mapping
    def __init__(self, c, prefix=""):
        self.qkv_proj = QKVParallelLinear(c.h, c.d, c.n)

    def load_weights(self, weights):
        return self.loader.load_weights(weights)
"""
        ),
        Case(
            code=_file(_GATE, f"{_A}\n{_B}")
            + """
    packed_modules_mapping = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}
"""
        ),
    ),
    bad=(
        Case(code=_file(_GATE, f"{_A}\n{_B}"), hits=(7,)),
        Case(code=_file(_QKV, f"{_A}\n{_B}"), hits=(8,)),
        Case(code=_file(_GATE, _A.replace("qkv_proj", "wqkv")), hits=(7,)),
        Case(code=_file(_QKV, _B.replace("gate_up_proj", "in_proj_qkvz")), hits=(7,)),
    ),
)
