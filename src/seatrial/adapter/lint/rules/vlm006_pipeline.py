"""VLM006: a loader that fails on every pipeline-parallel rank but one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, FUNCTIONS) or node.name != "load_weights" or not file.is_model:
        return
    klass = file.klass(node)
    if klass is None:
        return
    below = list(inside(node))
    if any(isinstance(n, ast.Call) and last(n.func) in ("is_pp_missing_parameter", "AutoWeightsLoader") for n in below):
        return
    lookups = [n for n in below if isinstance(n, ast.Subscript) and last(n.value) == "params_dict"]
    checked = any(isinstance(n, ast.Compare) and last(n.comparators[0]) == "params_dict" for n in below)
    if lookups and not checked and any(_makes_layers(n) for n in inside(klass)):
        yield Hit(
            lookups[0],
            "params_dict[...] without is_pp_missing_parameter: a weight of another pipeline rank is a KeyError here",
        )


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
    ),
)
