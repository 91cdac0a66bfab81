"""VLM008: `register()` touches the device or imports what is heavy."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile, bases, inside
from seatrial.adapter.lint.rule import Case, Hit, Rule
from seatrial.support.modules import absolute

DEVICE_CALLS = ("torch.cuda.", "torch.npu.", "torch.xpu.", "torch_npu.npu.", "torch.accelerator.")
# Naming the build or the version opens no device.
HARMLESS = {"torch.cuda.is_available", "torch.npu.is_available", "torch.cuda.is_initialized"}
HEAVY = (
    "torch_npu",
    "vllm.config",
    "vllm.model_executor",
    "vllm.v1",
    "vllm.attention",
    "vllm.transformers_utils",
    "vllm.distributed",
    "vllm.engine",
    "vllm.entrypoints",
)


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _platform_module(node, file)
        return
    if not file.path.endswith("/__init__.py") or file.path.count("/") > 2:
        return
    if not isinstance(node, FUNCTIONS) or node.name != "register":
        return
    for inner in inside(node):
        if isinstance(inner, ast.Call):
            called = file.origin(inner.func)
            if called.startswith(DEVICE_CALLS) and called not in HARMLESS:
                yield Hit(
                    inner, f"register() calls {called}: the device is initialised in every process that lists plugins"
                )
        for module in _imported(inner, file):
            if any(module == h or module.startswith(f"{h}.") for h in HEAVY):
                yield Hit(
                    inner,
                    f"register() imports {module} while vLLM chooses its platform: a circular import once that asks for it",
                )


def _platform_module(node: ast.Import | ast.ImportFrom, file: LintFile) -> Iterator[Hit]:
    """The module of the platform class is imported while `vllm.config` may itself be half-way through its import."""
    if (
        file.tree is None
        or node not in file.tree.body
        or not any("Platform" in bases(c) for c in file.classes.values())
    ):
        return
    if any(module == "vllm.config" or module.startswith("vllm.config.") for module in _imported(node, file)):
        yield Hit(
            node,
            "the platform's module imports vllm.config, which imports the platform: a circular import; "
            "import it where it is used, or under TYPE_CHECKING",
        )


def _imported(node: ast.AST, file: LintFile) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    return [absolute(file.parsed, node)] if isinstance(node, ast.ImportFrom) else []


def _case(body: str, hits: tuple[int, ...] = (), head: str = "") -> Case:
    return Case(code=f'{head}def register():\n{body}    return "plug.platform.P"\n', hits=hits, path="plug/__init__.py")


RULE = Rule(
    code="VLM008",
    name="register-touches-device",
    summary="The platform plugin's `register()` touches the device or imports heavy parts of vLLM.",
    why="It runs while vLLM resolves `current_platform`, in every process: an import of vLLM's config or models comes back "
    "to the half-made platform (circular import), and a device call breaks forked workers.",
    mend="Return the platform's class path only; do the rest in `pre_register_and_update` or the worker.",
    nodes=(ast.FunctionDef, ast.Import, ast.ImportFrom),
    check=check,
    needles=(b"def register", b"Platform"),
    good=(
        _case(""),
        _case("    from .logger import setup\n\n    setup()\n"),
        _case("    from vllm.logger import init_logger\n\n    init_logger(__name__)\n"),
        _case("    if not torch.cuda.is_available():\n        return None\n", head="import torch\n\n\n"),
        Case(
            code="from typing import TYPE_CHECKING\n\nfrom vllm.platforms import Platform\n\nif TYPE_CHECKING:\n"
            "    from vllm.config import VllmConfig\n\n\nclass P(Platform):\n    pass\n",
            path="plug/platform.py",
        ),
        Case(
            code="from vllm.platforms import Platform\n\n\nclass P(Platform):\n    @classmethod\n"
            "    def check_and_update_config(cls, c):\n        from vllm.config import CompilationMode\n",
            path="plug/platform.py",
        ),
        Case(code="import torch\n\n\ndef register():\n    torch.cuda.init()\n", path="plug/ops/deep/more/__init__.py"),
    ),
    bad=(
        _case("    torch.npu.set_device(0)\n", hits=(6,), head="import torch\nimport torch_npu\n\n\n"),
        _case("    import vllm.config.model as model_module\n", hits=(2,)),
        _case("    import vllm.transformers_utils.config as config_module\n    import torch_npu\n", hits=(2, 3)),
        _case("    from vllm.model_executor.layers.linear import ReplicatedLinear\n", hits=(2,)),
        Case(
            code="from vllm.config import CompilationLevel\nfrom vllm.platforms import Platform\n\n\n"
            "class P(Platform):\n    pass\n",
            hits=(1,),
            path="plug/platform.py",
        ),
        _case("    count = torch.cuda.device_count()\n", hits=(5,), head="import torch\n\n\n"),
    ),
)
