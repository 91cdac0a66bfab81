"""VLM013: a splitting op spelt with a dot."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, last, strings
from seatrial.adapter.lint.rule import Case, Hit, Rule, TextHit

# In a shell line, JSON or YAML: the list after the key, in brackets or as lines with dashes.
LISTED = re.compile(
    rb"""splitting_ops\\{0,4}["']?[ \t]{0,8}[:=][ \t]{0,8}(\[[^\[\]]{0,4000}\]|(?:[ \t]{0,8}\r?\n[ \t]{0,80}-[^\n]{0,400})+)"""
)
ITEM = re.compile(rb"""(?<![\w.:])([A-Za-z_]\w*)\.([A-Za-z_]\w*)(?![\w.:])""")
DOTTED = re.compile(r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    for value in _values(node):
        if not isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            continue
        for item in strings(value):
            text = str(item.value)
            if DOTTED.match(text):
                start, end = file.span(item)
                spelt = file.text(item)
                edit = ((start, end, spelt.replace(".", "::", 1)),) if spelt.count(".") == 1 else ()
                yield Hit(
                    item, f"{text!r} matches no operator: their names are spelt {text.replace('.', '::')!r}", edit
                )


def texts(data: bytes) -> Iterator[TextHit]:
    for found in LISTED.finditer(data):
        for item in ITEM.finditer(found.group(1)):
            start, end = found.start(1) + item.start(), found.start(1) + item.end()
            right = b"::".join(item.groups()).decode()
            yield TextHit(
                start, end, f"{item.group().decode()!r} matches no operator: their names are spelt {right!r}", right
            )


def _values(node: ast.AST) -> list[ast.expr]:
    """What becomes `splitting_ops`: an assignment, a keyword, a dictionary's value, an append or extend."""
    if isinstance(node, ast.Assign):
        return [node.value] if any(last(t).lower().endswith("splitting_ops") for t in node.targets) else []
    if isinstance(node, ast.AnnAssign):
        return [node.value] if last(node.target).lower().endswith("splitting_ops") and node.value else []
    if isinstance(node, ast.keyword):
        return [node.value] if node.arg == "splitting_ops" else []
    if isinstance(node, ast.Dict):
        return [
            v
            for k, v in zip(node.keys, node.values, strict=True)
            if isinstance(k, ast.Constant) and k.value == "splitting_ops"
        ]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("extend", "append"):
        if last(node.func.value).lower().endswith("splitting_ops") and node.args:
            argument = node.args[0]
            return [argument if not isinstance(argument, ast.Constant) else ast.List(elts=[argument])]
    return []


RULE = Rule(
    code="VLM013",
    name="dotted-splitting-op",
    summary="A splitting op is spelt `vllm.name` instead of `vllm::name`.",
    why="vLLM compares with the operator's qualified name, so a dotted one never matches; and a list of one's own replaces "
    "the defaults, so the graph is not split at attention at all.",
    mend="Spell it with `::`.",
    nodes=(ast.Assign, ast.AnnAssign, ast.keyword, ast.Dict, ast.Call),
    check=check,
    texts=texts,
    needles=(b"plitting_ops", b"PLITTING_OPS"),
    fixable=True,
    good=(
        Case(code='splitting_ops = ["vllm::unified_attention"]\n'),
        Case(
            code='--compilation-config \'{"splitting_ops": ["vllm::unified_attention"]}\' --port 80.80\n',
            path="ci/start.sh",
        ),
        Case(code='config.splitting_ops.extend(["vllm::mla_forward", "vllm::dsa_forward"])\n'),
        Case(code='c = CompilationConfig(splitting_ops=["vllm::unified_attention_with_output"])\n'),
        Case(code='c = {"splitting_ops": ["vllm::gdn_attention"], "model": "vllm.unified_attention"}\n'),
    ),
    bad=(
        Case(
            code='vllm serve m \\\n  --compilation-config \'{\\"splitting_ops\\": [\\"vllm.mamba_mixer2\\", \\"vllm::ok\\"]}\'\n',
            hits=(2,),
            fixed='vllm serve m \\\n  --compilation-config \'{\\"splitting_ops\\": [\\"vllm::mamba_mixer2\\", \\"vllm::ok\\"]}\'\n',
            path="ci/start.sh",
        ),
        Case(
            code="splitting_ops:\n  - vllm.unified_attention\n  - 'vllm::ok'\nother:\n  - a.b\n",
            hits=(2,),
            fixed="splitting_ops:\n  - vllm::unified_attention\n  - 'vllm::ok'\nother:\n  - a.b\n",
            path="config.yaml",
        ),
        Case(
            code='splitting_ops = ["vllm.unified_attention"]\n',
            hits=(1,),
            fixed='splitting_ops = ["vllm::unified_attention"]\n',
        ),
        Case(
            code="c = {\n    'splitting_ops': [\n        'vllm.unified_attention',  # attention\n        'vllm::ok',\n    ]\n}\n",
            hits=(3,),
            fixed="c = {\n    'splitting_ops': [\n        'vllm::unified_attention',  # attention\n        'vllm::ok',\n    ]\n}\n",
        ),
        Case(
            code='config.splitting_ops.append("vllm.sparse_attn_indexer_vllm_kunlun")\n',
            hits=(1,),
            fixed='config.splitting_ops.append("vllm::sparse_attn_indexer_vllm_kunlun")\n',
        ),
        Case(
            code='c = CompilationConfig(splitting_ops=["vllm.a", "vllm.b"])\n',
            hits=(1, 1),
            fixed='c = CompilationConfig(splitting_ops=["vllm::a", "vllm::b"])\n',
        ),
        Case(
            code='SPLITTING_OPS: list[str] = ["vllm.mla_forward"]\n',
            hits=(1,),
            fixed='SPLITTING_OPS: list[str] = ["vllm::mla_forward"]\n',
        ),
    ),
)
