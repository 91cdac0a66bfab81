"""KUN003: an int8 scale that stays in the abs-max form."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, bases, inside, method
from seatrial.adapter.lint.rule import Case, Hit, Rule

KERNEL = re.compile(r"ScaledMM|Int8|W8A8")
FLOAT8 = re.compile(r"Fp8|FP8|Float8|MXFP")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ClassDef) or "quantization" not in file.path:
        return
    names = {node.name, *bases(node)}
    if not any(KERNEL.search(n) for n in names) or any(FLOAT8.search(n) for n in names):
        return
    after = method(node, "process_weights_after_loading")
    if after is None or not any("scale" in text or "_s" in text for text in _words(after)):
        return
    if not any(isinstance(n, ast.Constant) and n.value in (127, 127.0) for n in inside(node)):
        yield Hit(after, f"{node.name} prepares int8 weights without multiplying their scale by 127")


def _words(node: ast.AST) -> list[str]:
    out = []
    for inner in inside(node):
        if isinstance(inner, ast.Attribute):
            out.append(inner.attr)
        elif isinstance(inner, ast.Name):
            out.append(inner.id)
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            out.append(inner.value)
    return out


def _case(name: str, base: str, body: str, hits: tuple[int, ...] = (), path: str = "") -> Case:
    code = f"import torch\n\n\nclass {name}({base}):\n{body}"
    return Case(code=code, hits=hits, path=path or "vllm_kunlun/quantization/kernels/scale_mm.py")


_AFTER = "    def process_weights_after_loading(self, layer):\n"
_SUPER = f"{_AFTER}        super().process_weights_after_loading(layer)\n        s = getattr(layer, self.w_s_name)\n"

RULE = Rule(
    code="KUN003",
    name="int8-scale",
    summary="An int8 kernel class does not bring the weight scale to Kunlun's form.",
    why="Kunlun's int8 matmul takes the maximum of a channel, vLLM keeps maximum / 127: without the factor every output is "
    "127 times too small, which shows only as wrong text.",
    mend="`getattr(layer, w_s_name).mul_(127.0)` after loading; `seatrial quant-template max-scale` shows it tested.",
    nodes=(ast.ClassDef,),
    check=check,
    needles=(b"process_weights_after_loading",),
    platforms=("kunlun",),
    good=(
        _case("KunlunScaledMM", "CutlassScaledMMLinearKernel", f"{_SUPER}        s.mul_(127.0)\n"),
        _case("KunlunW8A8Int8", "CompressedTensorsMoEMethod", f"{_SUPER}        layer.w13_weight_scale.mul_(127)\n"),
        _case("KunlunFp8ScaledMM", "Fp8ScaledMMLinearKernel", _SUPER),
        _case(
            "KunlunScaledMM",
            "CutlassScaledMMLinearKernel",
            "    def apply_weights(self, layer, x):\n        return x\n",
        ),
        _case("KunlunScaledMM", "ScaledMMLinearKernel", _SUPER, path="vllm_kunlun/models/thing.py"),
    ),
    bad=(
        _case("KunlunScaledMM", "CutlassScaledMMLinearKernel", _SUPER, (5,)),
        _case(
            "KunlunInt8Linear",
            "LinearMethodBase",
            f"{_AFTER}        layer.weight_scale.data = layer.weight_scale.t()\n",
            (5,),
        ),
        _case(
            "KunlunMoE",
            "CompressedTensorsW8A8Int8MoEMethod",
            f"{_AFTER}        self.prepare(layer.w2_weight_scale)\n",
            (5,),
        ),
        _case("KunlunScaledMM", "CutlassInt8ScaledMMLinearKernel", f"{_SUPER}        s.mul_(128.0)\n", (5,)),
    ),
)
