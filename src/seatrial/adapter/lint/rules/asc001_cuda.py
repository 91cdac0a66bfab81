"""ASC001: CUDA by name in code that runs on an NPU."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile
from seatrial.adapter.lint.rule import Case, Hit, Rule


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if isinstance(node, ast.keyword):
        if node.arg == "device" and _cuda(node.value):
            yield Hit(
                node, f"device={file.text(node.value)}: there is no such device on an NPU", _npu(node.value, file)
            )
        return
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    if node.func.attr == "to" and node.args and _cuda(node.args[0]):
        yield Hit(node, "moves a tensor to CUDA: there is none on an NPU", _npu(node.args[0], file))
    elif node.func.attr == "cuda" and not node.args and not node.keywords and file.origin(node.func) != "torch.cuda":
        yield Hit(node, ".cuda() moves a tensor to CUDA: there is none on an NPU")
    elif file.origin(node.func).startswith("torch.cuda.") and not _replaced(node, file) and not _asked(node, file):
        yield Hit(node, f"{file.origin(node.func)}() needs CUDA; the NPU's is torch.npu.{node.func.attr}()")


def _cuda(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(":")[0] == "cuda"


def _npu(node: ast.expr, file: LintFile) -> tuple[tuple[int, int, str], ...]:
    start, end = file.span(node)
    return ((start, end, file.text(node).replace("cuda", "npu", 1)),)


def _replaced(node: ast.Call, file: LintFile) -> bool:
    """Whether a file of the plugin puts the NPU's function in CUDA's place (`torch.cuda.X = ...`)."""
    parts = file.origin(node.func).split(".")
    return bool({".".join(parts[:3]), "torch.cuda"} & file.plugin.cuda_replaced)


def _asked(node: ast.AST, file: LintFile) -> bool:
    """Whether a test above asks for CUDA by name: the branch is not the NPU's."""
    return any(
        isinstance(a, (ast.If, ast.IfExp)) and ("cuda" in (text := file.text(a.test)) or "gpu" in text)
        for a in file.ancestors(node)
    )


_PATH = "vllm_ascend/ops/thing.py"


def _case(code: str, hits: tuple[int, ...] = (), fixed: str = "", others: dict[str, str] | None = None) -> Case:
    fixed = f"import torch\n\n{fixed}" if fixed else ""
    return Case(code=f"import torch\n\n{code}", hits=hits, fixed=fixed, path=_PATH, others=others or {})


_SET = {"vllm_ascend/patch/device.py": "import torch\n\ntorch.cuda.synchronize = torch.npu.synchronize\n"}
_ALL = {"vllm_ascend/__init__.py": "from torch_npu.contrib import transfer_to_npu  # noqa: F401\n"}


RULE = Rule(
    code="ASC001",
    name="hard-coded-cuda",
    summary="CUDA is named in code that runs on an NPU.",
    why="Copied model code keeps `device='cuda'` and `torch.cuda` calls; on an NPU they raise, or work only where the "
    "worker has put NPU functions in CUDA's place.",
    mend="Use `current_platform.device_type`, the tensor's own device, or `torch.npu`.",
    nodes=(ast.Call, ast.keyword),
    check=check,
    needles=(b"cuda",),
    platforms=("ascend",),
    fixable=True,
    good=(
        _case('x = torch.zeros(4, device="npu")\n'),
        _case("x = torch.zeros(4, device=current_platform.device_type)\n"),
        _case("torch.cuda.Event = torch.npu.Event\ntorch.cuda.Event(enable_timing=True)\n"),
        _case('if config.device_type == "cuda":\n    torch.cuda.empty_cache()\n'),
        _case("torch.cuda.synchronize()\n", others=_SET),
        _case("torch.cuda.empty_cache()\n", others=_ALL),
        _case('"""\n>>> q = torch.randn(4, device="cuda")\n"""\n'),
    ),
    bad=(
        _case('x = torch.zeros(4, device="cuda")\n', (3,), 'x = torch.zeros(4, device="npu")\n'),
        _case("x = y.to('cuda:0', non_blocking=True)\n", (3,), "x = y.to('npu:0', non_blocking=True)\n"),
        _case("torch.cuda.synchronize()\n", (3,)),
        _case("w = w.cuda()\n", (3,)),
        _case("torch.cuda.empty_cache()\n", (3,), others=_SET),
        _case('def f(n):\n    return torch.arange(n, device="cuda", dtype=torch.int32)\n', (4,)),
    ),
)
