"""VLM006: a loader that fails on every pipeline-parallel rank but one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

# The last finds a scale of the KV cache, in a name that the loaders of vLLM's own models look up at once.
SORTERS = ("is_pp_missing_parameter", "AutoWeightsLoader", "get_cache_scale")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, FUNCTIONS) or node.name != "load_weights" or not file.is_model:
        return
    klass = file.klass(node)
    if klass is None:
        return
    below = list(inside(node))
    if not any(_makes_layers(n) for n in inside(klass)):
        return
    lookups = [n for n in below if isinstance(n, ast.Subscript) and last(n.value) == "params_dict"]
    # A function within answers to its caller, which may have sorted the names.
    own = [n for n in lookups if isinstance(n.slice, ast.Name) and file.function(n) is node]
    bare = [n for n in own if not _guarded(n, file)]
    for one in {n.lineno: n for n in reversed(bare)}.values():
        yield Hit(
            one,
            "params_dict[...] without is_pp_missing_parameter: a weight of another pipeline rank is a KeyError here",
        )


def _guarded(lookup: ast.AST, file: LintFile) -> bool:
    """Whether what comes before the lookup, in its block or in one around it, sorts out names of other ranks."""
    if "KeyError" in (caught := file.caught(lookup)) or "Exception" in caught:
        return True
    below = lookup
    for above in file.ancestors(lookup):
        if isinstance(above, FUNCTIONS):
            break
        if isinstance(above, (ast.If, ast.IfExp)) and below is not above.test and _sorts(above.test):
            return True
        if isinstance(above, (ast.For, ast.If, ast.Try)):
            block = above.body if below in above.body else above.orelse
            earlier = block[: block.index(below)] if below in block else []
            if any(_sorts(statement) for statement in earlier):
                return True
        below = above
    return False


def _sorts(node: ast.AST) -> bool:
    """Whether a statement or test asks if the name is this rank's."""
    for part in (node, *inside(node)):
        if isinstance(part, ast.Call) and last(part.func) in SORTERS:
            return True
        if isinstance(part, ast.Compare) and any(_known(c) for c in (part.left, *part.comparators)):
            return True
    return False


def _known(node: ast.expr) -> bool:
    """The model's own names or its range of layers, as something that is compared with."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
        node = node.func.value
    return last(node) in ("params_dict", "start_layer", "end_layer")


def _makes_layers(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last(node.func) in ("make_layers", "PPMissingLayer")


def _model(body: str, make: str = "make_layers(c.n, f, prefix=prefix)") -> str:
    return f"""from torch import nn


class ThingModel(nn.Module):
    def __init__(self, c, prefix=""):
        self.layers = {make}

    def load_weights(self, weights):
        params_dict = dict(self.named_parameters())
        for name, loaded_weight in weights:
{body}
"""


RULE = Rule(
    code="VLM006",
    name="pipeline-loader",
    summary="A loader looks every weight up, though a pipeline rank holds only some.",
    why="With pipeline parallelism the layers of other ranks are `PPMissingLayer`; their weights are still in the "
    "checkpoint, and a plain lookup raises KeyError.",
    mend="`if is_pp_missing_parameter(name, self): continue` before the lookup.",
    nodes=(ast.FunctionDef,),
    check=check,
    needles=(b"params_dict",),
    good=(
        Case(
            code=_model(
                "            if is_pp_missing_parameter(name, self):\n                continue\n"
                "            param = params_dict[name]"
            )
        ),
        Case(code=_model("            if name in params_dict:\n                param = params_dict[name]")),
        Case(code=_model("            param = params_dict[name]", make="nn.ModuleList(c.blocks)")),
        Case(code=_model("            self.load(name, loaded_weight)")),
        Case(
            code=_model(
                "            if scale_name := self.quant_config.get_cache_scale(name):\n"
                "                param = params_dict[scale_name]"
            )
        ),
        Case(
            code=_model(
                "            def load(n):\n                params_dict[n].copy_(loaded_weight)\n\n"
                "            if not is_pp_missing_parameter(name, self):\n                load(name)"
            )
        ),
        Case(
            code=_model(
                "            if is_pp_missing_parameter(name, self):\n                continue\n"
                "            for part, shard in mapping:\n                if part in name:\n"
                "                    param = params_dict[name]"
            )
        ),
        Case(
            code=_model(
                "            try:\n                param = params_dict[name]\n            except KeyError:\n                continue"
            )
        ),
    ),
    bad=(
        Case(code=_model("            param = params_dict[name]"), hits=(11,)),
        Case(code=_model("            params_dict[name].weight_loader(params_dict[name], loaded_weight)"), hits=(11,)),
        Case(code=_model("            param = params_dict[name]", make="PPMissingLayer()"), hits=(11,)),
        Case(
            code=_model(
                '            if "rotary_emb.inv_freq" in name:\n                continue\n'
                "            param = params_dict[name]"
            ),
            hits=(13,),
        ),
        Case(  # guarded in one branch, not in the other
            code=_model(
                '            if "sink" in name:\n                param = params_dict[name]\n                continue\n'
                "            if is_pp_missing_parameter(name, self):\n                continue\n"
                "            param = params_dict[name]"
            ),
            hits=(12,),
        ),
    ),
)
