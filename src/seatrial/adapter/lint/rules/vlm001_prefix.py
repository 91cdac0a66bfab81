"""VLM001: a layer is built without the `prefix` it is known by."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile, inside, keyword, last, method, parameters
from seatrial.adapter.lint.rule import Case, Hit, Rule

# Layers whose prefix only serves to look up the quantisation of this very layer.
QUANTISED = {
    "ColumnParallelLinear",
    "RowParallelLinear",
    "MergedColumnParallelLinear",
    "QKVParallelLinear",
    "ReplicatedLinear",
    "ParallelLMHead",
}
# Layers that register themselves under their prefix: two without one collide, and KV cache groups mix them up.
NAMED = {"Attention", "MLAAttention", "FusedMoE", "SharedFusedMoE", "EncoderOnlyAttention", "CrossAttention"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or not file.is_model:
        return
    name = last(node.func)
    local = file.classes.get(name)
    if name not in QUANTISED and name not in NAMED and local is None:
        return
    if keyword(node, "prefix") is not None or any(k.arg is None for k in node.keywords):
        return
    if any(isinstance(a, ast.Starred) for a in node.args):
        return
    within = file.function(node)
    if within is None or within.name != "__init__" or file.klass(node) is None:
        return
    if local is not None:
        if not _passes_on(local, node):
            return
        why = f"{name} names its own layers by the prefix it is given"
    elif name in NAMED:
        if len(node.args) > 7 or not _is_vllms(file.origin(node.func), file):
            return  # the prefix may be among them; or a class of another library
        why = f"{name} registers itself under its prefix; without one it collides with the next"
    else:
        quant = keyword(node, "quant_config")
        if quant is None or (isinstance(quant, ast.Constant) and quant.value is None):
            return
        why = f"{name} looks up its quantisation by its prefix; without one it gets the wrong scheme or none"
    yield Hit(node, f"no prefix passed: {why}", _fix(node, file))


def _is_vllms(origin: str, file: LintFile) -> bool:
    """Whether a layer is vLLM's, or a class of this plugin that extends the one of its name there."""
    module, _, name = origin.rpartition(".")
    if origin.split(".")[0] == "vllm":
        return True
    place = file.plugin.file_of(module) if module else ""
    own = file.plugin.classes(place).get(name) if place else None
    return own is not None and any(last(base) in NAMED for base in own.bases)


def _passes_on(local: ast.ClassDef, call: ast.Call) -> bool:
    """Whether a class of this file puts its prefix to use (it is quantised, or holds attention) and gets none here."""
    init = method(local, "__init__")
    if init is None:
        return False
    names = parameters(init)
    if "prefix" not in names or len(call.args) >= names.index("prefix"):
        return False
    body = [n for statement in init.body for n in (statement, *inside(statement))]
    named = any(isinstance(n, ast.Call) and last(n.func) in NAMED for n in body)
    quant = keyword(call, "quant_config")
    quantised = quant is not None and not (isinstance(quant, ast.Constant) and quant.value is None)
    return (named or quantised) and any(isinstance(n, ast.Name) and n.id == "prefix" for n in body)


def _fix(call: ast.Call, file: LintFile) -> tuple[tuple[int, int, str], ...]:
    """`prefix=f"{prefix}.NAME"` where the call is `self.NAME = CLASS(...)` and a prefix is at hand."""
    statement = file.parent(call)
    init = next((a for a in file.ancestors(call) if isinstance(a, FUNCTIONS)), None)
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1 or init is None:
        return ()
    target = statement.targets[0]
    named = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    if not named or not isinstance(target, ast.Attribute) or "prefix" not in parameters(init):
        return ()
    arguments: list[ast.AST] = [*call.args, *(k.value for k in call.keywords)]
    if not arguments:
        return ()
    final = max(arguments, key=lambda a: file.span(a)[1])
    end = file.span(final)[1]
    indent = ", "
    if final.end_lineno != call.end_lineno:  # type: ignore[attr-defined]
        line = file.line_bytes(final.lineno)  # type: ignore[attr-defined]
        blank = line[: len(line) - len(line.lstrip())].decode()
        indent = f",{file.newline}{blank}"
    return ((end, end, f'{indent}prefix=f"{{prefix}}.{target.attr}"'),)


_HEAD = """from torch import nn
from vllm.attention import Attention
from vllm.model_executor.layers.linear import QKVParallelLinear, RowParallelLinear
"""

_OWN = """from torch import nn
from vllm_demo.layers import Attention


class A(nn.Module):
    def __init__(self, c, prefix=""):
        self.attn = Attention(num_heads=8, head_size=64)
"""

RULE = Rule(
    code="VLM001",
    name="missing-prefix",
    summary="A layer is built without its prefix.",
    why="Quantisation looks layers up by prefix, and attention and expert layers register under it: without one the "
    "checkpoint's scheme is missed silently, or the engine stops on a duplicate layer name.",
    mend='Pass `prefix=f"{prefix}.NAME"`, NAME being the attribute the layer is kept in.',
    nodes=(ast.Call,),
    check=check,
    needles=(b"nn.Module", b"Module)"),
    fixable=True,
    good=(
        Case(
            code=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, quant_config=None, prefix=""):
        self.o_proj = RowParallelLinear(c.a, c.b, quant_config=quant_config, prefix=f"{prefix}.o_proj")
"""
        ),
        Case(
            code=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, prefix=""):
        self.o_proj = RowParallelLinear(c.a, c.b, bias=False)  # never quantised
        self.attn = Attention(8, 64, 1.0, prefix=f"{prefix}.attn")
"""
        ),
        Case(
            code=_HEAD
            + """class MLP(nn.Module):
    def __init__(self, c, quant_config=None, prefix=""):
        self.down = RowParallelLinear(c.a, c.b, quant_config=quant_config, prefix=f"{prefix}.down")


class Layer(nn.Module):
    def __init__(self, c, **kwargs):
        self.mlp = MLP(c, **kwargs)
"""
        ),
        Case(
            code=_HEAD
            + """class Gate(nn.Module):
    def __init__(self, c, prefix=""):
        self.weight = nn.Parameter(c.w)


class Layer(nn.Module):
    def __init__(self, c, prefix=""):
        self.gate = Gate(c)
"""
        ),
        Case(code=_OWN, others={"vllm_demo/layers.py": "from torch import nn\n\n\nclass Attention(nn.Module): ...\n"}),
    ),
    bad=(
        Case(
            code=_OWN,
            hits=(7,),
            fixed=_OWN.replace("head_size=64", 'head_size=64, prefix=f"{prefix}.attn"'),
            others={
                "vllm_demo/layers.py": "from vllm.attention import layer\n\n\nclass Attention(layer.Attention): ...\n"
            },
        ),
        Case(
            code=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, quant_config=None, prefix=""):
        self.o_proj = RowParallelLinear(c.a, c.b, quant_config=quant_config)
""",
            hits=(6,),
            fixed=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, quant_config=None, prefix=""):
        self.o_proj = RowParallelLinear(c.a, c.b, quant_config=quant_config, prefix=f"{prefix}.o_proj")
""",
        ),
        Case(
            code=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, cache_config=None, quant_config=None, prefix=""):
        self.attn = Attention(
            c.heads,
            c.head_dim,
            scale=1.0,
            cache_config=cache_config,
        )
""",
            hits=(6,),
            fixed=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, cache_config=None, quant_config=None, prefix=""):
        self.attn = Attention(
            c.heads,
            c.head_dim,
            scale=1.0,
            cache_config=cache_config,
            prefix=f"{prefix}.attn",
        )
""",
        ),
        Case(
            code=_HEAD
            + """class A(nn.Module):
    def __init__(self, c, quant_config=None):
        self.qkv_proj = QKVParallelLinear(c.a, c.b, c.h, quant_config=quant_config)
""",
            hits=(6,),
        ),
        Case(
            code=_HEAD
            + """class MLP(nn.Module):
    def __init__(self, c, quant_config=None, prefix=""):
        self.down = RowParallelLinear(c.a, c.b, quant_config=quant_config, prefix=f"{prefix}.down")


class Layer(nn.Module):
    def __init__(self, c, quant_config=None, prefix=""):
        self.mlp = MLP(c, quant_config=quant_config)
""",
            hits=(11,),
        ),
    ),
)
