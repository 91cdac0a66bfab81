"""VLM007: a registration that imports the model."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule
from seatrial.support.modules import absolute


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, FUNCTIONS) or not node.name.lstrip("_").startswith("register_model"):
        return
    for inner in inside(node):
        if isinstance(inner, ast.ImportFrom) and _model_import(inner, file):
            names = ", ".join(a.name for a in inner.names)
            yield Hit(
                inner,
                f"{node.name}() imports {names}: the model's module, and the device with it, is loaded at start-up",
            )
        elif isinstance(inner, ast.Call) and last(inner.func) == "register_model" and len(inner.args) == 2:
            if isinstance(inner.args[1], ast.Name) and inner.args[1].id[:1].isupper():
                yield Hit(
                    inner.args[1], f"{inner.args[1].id} is registered as a class; the lazy form is 'module:Class'"
                )


def _model_import(node: ast.ImportFrom, file: LintFile) -> bool:
    """Whether it takes classes from another module of the plugin's models."""
    module = absolute(file.parsed, node)
    ours = node.level > 0 or file.plugin.has(module.split(".")[0])
    return (
        ours and ".models." in f".{module}." and all(a.name[:1].isupper() and not a.name.isupper() for a in node.names)
    )


def _case(body: str, hits: tuple[int, ...] = ()) -> Case:
    code = f"from vllm import ModelRegistry\n\n\ndef register_model():\n{body}"
    return Case(code=code, hits=hits, path="plug/models/__init__.py")


_LAZY = '    ModelRegistry.register_model("Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM")\n'

RULE = Rule(
    code="VLM007",
    name="eager-registration",
    summary="`register_model()` imports the models it registers.",
    why="vLLM calls it in every process, before workers fork: importing a model there initialises the device (`Cannot "
    "re-initialize CUDA in forked subprocess`), slows every start, and one broken model takes all others with it.",
    mend='Register the string `"package.module:Class"` and import nothing.',
    nodes=(ast.FunctionDef,),
    check=check,
    needles=(b"register_model",),
    good=(
        _case(_LAZY),
        _case("    from .registry import register\n\n    register()\n"),
        _case(f"    # from .demo import DemoModel  # noqa: F401\n{_LAZY}"),
        Case(
            code="from vllm import ModelRegistry\n\n\ndef load():\n    from .models.qwen3 import Qwen3\n\n    return Qwen3\n"
        ),
    ),
    bad=(
        _case(f"    from .qwen2_vl import Qwen2VLForConditionalGeneration  # noqa: F401\n{_LAZY}", hits=(5,)),
        _case(f"    from plug.models.qwen3 import Qwen3ForCausalLM\n\n{_LAZY}", hits=(5,)),
        _case(
            "    from .a import AForCausalLM, AModel\n    from .b import BForCausalLM\n\n" + _LAZY,
            hits=(5, 6),
        ),
        Case(
            code="from vllm import ModelRegistry\nfrom plug.models.q import QForCausalLM\n\n\ndef register_models():\n"
            '    ModelRegistry.register_model("QForCausalLM", QForCausalLM)\n',
            hits=(6,),
            path="plug/__init__.py",
        ),
    ),
)
