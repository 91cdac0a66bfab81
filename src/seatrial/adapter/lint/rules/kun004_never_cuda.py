"""KUN004: a branch on `is_cuda()`, which is never true on an out-of-tree platform."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, last
from seatrial.adapter.lint.rule import Case, Hit, Rule


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or file.plugin.platform_enum != "OOT" or node.args:
        return
    if (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "is_cuda"
        and last(node.func.value) == "current_platform"
        and not _or_else(node, file)
    ):
        yield Hit(node, "current_platform.is_cuda() is False on Kunlun (its enum is OOT), though device_type is 'cuda'")


def _or_else(node: ast.Call, file: LintFile) -> bool:
    """Whether another part of an `or` asks for this platform: the branch is not dead."""
    parent = file.parent(node)
    if not isinstance(parent, ast.BoolOp) or not isinstance(parent.op, ast.Or):
        return False
    ours = ("is_out_of_tree", "is_kunlun", "device_type")
    return any(word in file.text(value) for value in parent.values if value is not node for word in ours)


def _platform(enum: str) -> dict[str, str]:
    return {
        "vllm_kunlun/platforms/kunlun.py": "from vllm.platforms import Platform, PlatformEnum\n\n\n"
        f'class KunlunPlatform(Platform):\n    _enum = PlatformEnum.{enum}\n    device_type = "cuda"\n'
    }


def _case(code: str, hits: tuple[int, ...] = (), enum: str = "OOT") -> Case:
    head = "from vllm.platforms import current_platform\n\n"
    return Case(code=head + code, hits=hits, path="vllm_kunlun/ops/thing.py", others=_platform(enum))


RULE = Rule(
    code="KUN004",
    name="never-cuda",
    summary="Code of the plugin branches on `current_platform.is_cuda()`.",
    why="The Kunlun platform says `device_type = 'cuda'` and `_enum = PlatformEnum.OOT`: the method answers False, so copied "
    "CUDA branches are dead and what was meant for other devices runs. The enum is read from the plugin's platform class.",
    mend="Decide by `current_platform.is_out_of_tree()` or `device_type`, or keep one branch.",
    nodes=(ast.Call,),
    check=check,
    needles=(b"is_cuda()",),
    platforms=("kunlun",),
    good=(
        _case('if current_platform.device_type == "cuda":\n    f()\n'),
        _case("if current_platform.is_out_of_tree():\n    f()\n"),
        _case("if current_platform.is_cuda():\n    f()\n", enum="CUDA"),
        _case("if tensor.is_cuda():\n    f()\n"),
        _case("if current_platform.is_kunlun() or current_platform.is_cuda() or current_platform.is_xpu():\n    f()\n"),
        _case('fast = current_platform.device_type == "cuda" or current_platform.is_cuda()\n'),
    ),
    bad=(
        _case("if current_platform.is_cuda():\n    f()\n", (3,)),
        _case("aot = current_platform.is_cuda()\n", (3,)),
        _case("ok = current_platform.is_cuda() and not bias\n", (3,)),
        _case("if not current_platform.is_cuda():\n    g()\n", (3,)),
        _case("if current_platform.is_cuda() or current_platform.is_rocm():\n    g()\n", (3,)),
    ),
)
