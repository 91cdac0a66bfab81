"""VLM012: arguments that a layer builder of this vLLM does not take (`get_rope` and its like)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile
from seatrial.adapter.lint.rule import Case, Hit, Rule

HINTS = {
    ("get_rope", "rotary_dim"): "it is read from rope_parameters (partial_rotary_factor)",
    ("get_rope", "base"): "it is rope_parameters['rope_theta']",
    ("get_rope", "rope_scaling"): "pass rope_parameters=config.rope_parameters",
    ("get_rope", "partial_rotary_factor"): "it is rope_parameters['partial_rotary_factor']",
}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or file.engine is None or not node.keywords:
        return
    origin = file.origin(node.func)
    module, _, name = origin.rpartition(".")
    if not module.startswith("vllm.") or not name.islower():
        return  # classes are the compatibility meter's, which follows inheritance
    taken = file.engine.parameters(module, name)
    if taken is None:
        return
    wrong = [k.arg for k in node.keywords if k.arg is not None and k.arg not in taken]
    if wrong and not file.caught(node) & {"TypeError", "Exception"} and origin not in file.plugin.replaced:
        hint = next((f": {HINTS[name, w]}" for w in wrong if (name, w) in HINTS), "")
        yield Hit(node, f"{name}() of this vLLM takes no {', '.join(wrong)}{hint}")


_ROPE = "vllm/model_executor/layers/rotary_embedding/__init__.py"
_NEW = {_ROPE: "def get_rope(head_size, max_position, is_neox_style=True, rope_parameters=None, dtype=None): ...\n"}
_OLD = {_ROPE: "def get_rope(head_size, rotary_dim, max_position, base, is_neox_style=True, rope_scaling=None): ...\n"}
_HEAD = "from vllm.model_executor.layers.rotary_embedding import get_rope\n\n"


def _case(
    call: str,
    hits: tuple[int, ...] = (),
    engine: dict[str, str] | None = None,
    head: str = _HEAD,
    others: dict[str, str] | None = None,
) -> Case:
    return Case(code=f"{head}rope = {call}\n", hits=hits, engine=engine or _NEW, others=others or {})


RULE = Rule(
    code="VLM012",
    name="old-arguments",
    summary="A function of vLLM is called with arguments it no longer takes.",
    why="Layer builders change their signatures between releases (`get_rope` lost rotary_dim, base and rope_scaling); the "
    "TypeError comes only when that model is built. The signature is read from the engine's source.",
    mend="Call it as the engine's own models do.",
    nodes=(ast.Call,),
    check=check,
    needles=(b"vllm",),
    needs_engine=True,
    good=(
        _case("get_rope(128, max_position=4096, rope_parameters=p)"),
        _case("get_rope(128, rotary_dim=128, max_position=4096, base=1e4)", engine=_OLD),
        _case("get_rope(128, **kwargs)"),
        _case("get_rope(128, rotary_dim=128)", head="from plug.ops.rope_ext import get_rope\n\n"),
        _case(
            "get_rope(128, rotary_dim=128)",
            others={
                "vllm_plugin/patch.py": "import vllm.model_executor.layers.rotary_embedding as r\n"
                "from vllm_plugin.ops import get_rope\n\nr.get_rope = get_rope\n"
            },
        ),
        _case("get_rope(1, n_splits=4)", engine={_ROPE: "@tilelang.jit(opts=o)\ndef get_rope(size): ...\n"}),
        Case(
            code=_HEAD + "try:\n    r = get_rope(1, rotary_dim=1)\nexcept TypeError:\n    r = get_rope(1)\n",
            engine=_NEW,
        ),
    ),
    bad=(
        _case("get_rope(128, rotary_dim=128, max_position=4096, base=1e4, rope_scaling=None)", hits=(3,)),
        _case("get_rope(\n    128,\n    max_position=4096,\n    base=rope_theta,\n)", hits=(3,)),
        _case("get_rope(128, 4096, partial_rotary_factor=0.5)", hits=(3,)),
        _case("get_rope(128, max_position=4096, rope_parameters=p)", hits=(3,), engine=_OLD),
        _case(
            "get_rope(128, rotary_dim=128)",
            hits=(3,),
            others={"vllm_plugin/patch.py": "import vllm.config as c\n\nc.get_rope = None\n"},
        ),
        _case(
            "r.get_rope(64, rope_scaling=s)",
            hits=(3,),
            head="import vllm.model_executor.layers.rotary_embedding as r\n\n",
        ),
    ),
)
