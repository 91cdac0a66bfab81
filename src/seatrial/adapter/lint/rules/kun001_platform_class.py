"""KUN001: a layer class of the wrong side: one the plugin no longer has, or vLLM's where the plugin's is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, inside
from seatrial.adapter.lint.plugin import PluginFacts
from seatrial.adapter.lint.rule import Case, Hit, Rule
from seatrial.support.modules import absolute

# The manual's table of replaced classes: where the class is in vLLM, by the module in the plugin's `ops`.
UPSTREAM = {
    "activation": "vllm.model_executor.layers.activation",
    "vocab_parallel_embedding": "vllm.model_executor.layers.vocab_parallel_embedding",
    "linear": "vllm.model_executor.layers.linear",
    "layernorm": "vllm.model_executor.layers.layernorm",
}
CLASSES = {"Attention", "MultiHeadAttention", "SiluAndMul", "GeluAndMul", "QuickGELU", "VocabParallelEmbedding"}
# vLLM's is called wrong only where at least this many of the plugin's own working models, and this share, use the other.
MOST, SHARE = 4, 0.75


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ImportFrom) or not file.is_model:
        return
    module = absolute(file.parsed, node)
    top = module.split(".")[0]
    if top == "vllm":
        for alias in node.names:
            ours = file.plugin.replacements.get(alias.name, "") if alias.name in CLASSES else ""
            if ours and _preferred(file.plugin, alias.name, ours):
                edits = _swap(node, ours, file)
                yield Hit(node, f"the plugin's models use {ours}.{alias.name}; this one takes vLLM's", edits)
    elif file.plugin.has(top) and ".ops." in f".{module}.":
        gone = [a.name for a in node.names if not has_name(file.plugin, module, a.name)]
        upstream = UPSTREAM.get(module.rpartition(".")[2], "")
        lost = _lost(module, file)
        if not gone and lost and file.engine is not None and all(a.name in CLASSES for a in node.names):
            places = file.engine.moved(module, node.names[0].name)
            now = places[0].rpartition(".")[0] if places else ""
            said = f"; vLLM's {now} serves the platform" if now else ""
            yield Hit(
                node,
                f"{module} itself fails to import on this vLLM ({lost}){said}",
                _swap(node, now, file) if now else (),
            )
        elif gone and upstream:
            edits = _swap(node, upstream, file) if len(gone) == len(node.names) else ()
            yield Hit(node, f"{module} has no {', '.join(gone)} any more; vLLM's {upstream} serves the platform", edits)


def _lost(module: str, file: LintFile) -> str:
    """A name that a module of the plugin takes from vLLM at its top level, unguarded, and that this vLLM lacks."""
    tree = file.plugin.tree(file.plugin.file_of(module)) if file.plugin.file_of(module) else None
    for node in tree.body if tree is not None and file.engine is not None else ():
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "vllm":
            for alias in node.names:
                if file.engine is not None and file.engine.missing(node.module or "", alias.name):
                    return f"{node.module}.{alias.name}"
    return ""


def has_name(plugin: PluginFacts, module: str, name: str) -> bool:
    """Whether a module of the plugin has the name; unreadable ones may."""
    path = plugin.file_of(module)
    if not path:
        return False
    tree = plugin.tree(path)
    if tree is None or plugin.has(f"{module}.{name}"):
        return True
    bound = {n.name for n in ast.walk(tree) if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {a.asname or a.name for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return bool(bound & {name, "*", "__getattr__"})


def _preferred(plugin: PluginFacts, name: str, ours: str) -> bool:
    """Whether the plugin's own models, those whose imports from it hold, take its class rather than vLLM's."""
    mine = others = 0
    for path in plugin.files:
        tree = plugin.tree(path) if "/models/" in path and name.encode() in plugin.text(path) else None
        if tree is None:
            continue
        taken = [n for n in inside(tree) if isinstance(n, ast.ImportFrom) and n.module and not n.level]
        broken = any(
            n.module == ours.rpartition(".")[0] + ".activation" and not plugin.file_of(n.module or "") for n in taken
        )
        if broken:
            continue
        modules = {n.module or "" for n in taken if any(a.name == name for a in n.names)}
        mine += ours in modules
        others += any(m.startswith("vllm.") for m in modules)
    return mine >= MOST and mine / (mine + others) >= SHARE


def _swap(node: ast.ImportFrom, module: str, file: LintFile) -> tuple[tuple[int, int, str], ...]:
    """The module's name replaced, where the statement takes nothing else."""
    if len(node.names) != 1 or node.level or node.module is None:
        return ()
    start = file.offset(node.lineno, node.col_offset) + len("from ")
    if file.source[start : start + len(node.module)] != node.module.encode():
        return ()
    return ((start, start + len(node.module), module),)


_OPS = {
    "vllm_kunlun/__init__.py": "",
    "vllm_kunlun/ops/__init__.py": "",
    "vllm_kunlun/ops/attention/__init__.py": "",
    "vllm_kunlun/ops/attention/layer.py": "class Attention(nn.Module):\n    def forward(self, q): ...\n",
    "vllm_kunlun/ops/vocab_parallel_embedding.py": '@CustomOp.register_oot(name="VocabParallelEmbedding")\n'
    "class KunlunVocabParallelEmbedding(VocabParallelEmbedding):\n    def forward(self, x): ...\n",
}
_USERS = {
    f"vllm_kunlun/models/m{n}.py": "from vllm_kunlun.ops.attention.layer import Attention\n\n\nclass M(nn.Module): ...\n"
    for n in range(4)
}
_ACTIVATION = {"vllm_kunlun/ops/activation.py": "class SiluAndMul(nn.Module):\n    def forward(self, x): ...\n"}


def _case(
    line: str,
    hits: tuple[int, ...] = (),
    fixed: str = "",
    more: dict[str, str] | None = None,
    engine: dict[str, str] | None = None,
) -> Case:
    rest = "\n\n\nclass Layer(nn.Module):\n    pass\n"
    return Case(
        code=line + rest,
        hits=hits,
        fixed=fixed + rest if fixed else "",
        path="vllm_kunlun/models/thing.py",
        others={**_OPS, **(more or {})},
        engine=engine or {},
    )


_ENGINE = {"vllm/attention/layer.py": "class Attention: ...\n", "vllm/model_executor/layers/activation.py": ""}
_STALE = {
    "vllm_kunlun/ops/attention/layer.py": "from vllm.attention import Attention as VllmAttention\n\n\n"
    "class Attention(VllmAttention):\n    def forward(self, q): ...\n"
}
_OURS = "from vllm_kunlun.ops.attention.layer import Attention"
_VLLM = "from vllm.attention.layer import Attention"

RULE = Rule(
    code="KUN001",
    name="platform-class",
    summary="An attention, activation or embedding class from the wrong side for this version of the plugin.",
    why="The manual's replacement table holds for 0.11 only: later `ops/activation.py` is gone and vLLM's own Attention and "
    "SiluAndMul are right. Which holds is read from the plugin: whether it has the class, and what its models use.",
    mend="Import from the side named in the message.",
    nodes=(ast.ImportFrom,),
    check=check,
    platforms=("kunlun",),
    fixable=True,
    good=(
        _case(_OURS, more=_USERS),
        _case(_VLLM),
        _case(_OURS, engine=_ENGINE),
        _case("from vllm_kunlun.ops.activation import SiluAndMul", more=_ACTIVATION),
        _case("from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding"),
        _case("from vllm.model_executor.layers.layernorm import RMSNorm", more=_USERS),
    ),
    bad=(
        _case(_VLLM, (1,), _OURS, more=_USERS),
        _case(
            "from vllm_kunlun.ops.activation import SiluAndMul",
            (1,),
            "from vllm.model_executor.layers.activation import SiluAndMul",
        ),
        _case(
            "from vllm_kunlun.ops.vocab_parallel_embedding import ParallelLMHead",
            (1,),
            "from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead",
        ),
        _case("from vllm_kunlun.ops.activation import GeluAndMul, SiluAndMul", (1,), more=_ACTIVATION),
        _case(_OURS, (1,), _VLLM, more=_STALE, engine=_ENGINE),
    ),
)
