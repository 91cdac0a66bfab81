"""ASC004: a model takes an Ascend class that vLLM puts in place by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, last
from seatrial.adapter.lint.plugin import PluginFacts
from seatrial.adapter.lint.rule import Case, Hit, Rule
from seatrial.support.modules import absolute


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ImportFrom) or not file.is_model:
        return
    module = absolute(file.parsed, node)
    if not file.plugin.has(module.split(".")[0]):
        return
    table = registered(file.plugin)
    for alias in node.names:
        if alias.name in table and not _only_derived(alias.asname or alias.name, file):
            yield Hit(
                node,
                f"{alias.name} replaces vLLM's {table[alias.name]} by itself: import that, and the platform decides",
            )


def registered(plugin: PluginFacts) -> dict[str, str]:
    """The plugin's out-of-tree operators as `utils.py` registers them on this version: its class to vLLM's name."""
    out: dict[str, str] = {}
    for path in plugin.files:
        if not path.endswith("vllm_ascend/utils.py"):
            continue
        tree = plugin.tree(path)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Assign) and any(last(t) == "REGISTERED_ASCEND_OPS" for t in node.targets):
                if isinstance(node.value, ast.Dict):
                    for key, value in zip(node.value.keys, node.value.values, strict=True):
                        if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                            out[value.id] = str(key.value)
    return out


def _only_derived(name: str, file: LintFile) -> bool:
    """Whether the file only derives from it (a variant of the operator), or asks isinstance."""
    calls = [n for n in file.by_type.get(ast.Call, ()) if isinstance(n, ast.Call) and last(n.func) == name]
    return not calls


_UTILS = {
    "vllm_ascend/__init__.py": "",
    "vllm_ascend/utils.py": "def register_ascend_customop():\n    global REGISTERED_ASCEND_OPS\n"
    '    REGISTERED_ASCEND_OPS = {\n        "SiluAndMul": AscendSiluAndMul,\n'
    '        "RMSNorm": AscendRMSNorm,\n        "VocabParallelEmbedding": AscendVocabParallelEmbedding,\n    }\n',
}


def _case(code: str, hits: tuple[int, ...] = (), path: str = "vllm_ascend/models/thing.py") -> Case:
    return Case(code=code + "\n\nclass M(nn.Module):\n    pass\n", hits=hits, path=path, others=_UTILS)


RULE = Rule(
    code="ASC004",
    name="direct-operator-class",
    summary="A model builds an Ascend operator class that vLLM substitutes by itself.",
    why="Attention, activation, norm, linear and embedding classes are registered out of tree: a model that names the Ascend "
    "class goes round `custom_ops`, the 310P variants and quantisation. The table is read from this plugin's `utils.py`.",
    mend="Import vLLM's class of the registered name.",
    nodes=(ast.ImportFrom,),
    check=check,
    platforms=("ascend",),
    good=(
        _case("from vllm.model_executor.layers.activation import SiluAndMul\n\nact = SiluAndMul()"),
        _case("from vllm_ascend.ops.dsa import AscendDeepseekSparseAttention\n\nx = AscendDeepseekSparseAttention()"),
        _case("from vllm_ascend.ops.layernorm import AscendRMSNorm\n\n\nclass MyNorm(AscendRMSNorm):\n    pass"),
        _case(
            "from vllm_ascend.ops.layernorm import AscendRMSNorm\n\nn = AscendRMSNorm(4)", path="vllm_ascend/ops/x.py"
        ),
    ),
    bad=(
        _case("from vllm_ascend.ops.activation import AscendSiluAndMul\n\nact = AscendSiluAndMul()", (1,)),
        _case("from vllm_ascend.ops.layernorm import AscendRMSNorm\n\nn = AscendRMSNorm(4, eps=1e-6)", (1,)),
        _case(
            "from ..ops.embedding import AscendVocabParallelEmbedding\n\ne = AscendVocabParallelEmbedding(4, 4)", (1,)
        ),
        _case("from vllm_ascend.ops.layernorm import AscendRMSNorm as Norm\n\nn = Norm(4)", (1,)),
    ),
)
