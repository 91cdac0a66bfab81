"""VLM003: the class that runs the layers is not compiled."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, bases, inside, last, method, parameters
from seatrial.adapter.lint.rule import Case, Hit, Rule


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ClassDef) or not file.is_model or file.klass(node) is not None:
        return
    init, forward = method(node, "__init__"), method(node, "forward")
    if init is None or forward is None or "Module" not in bases(node):
        return
    if not {"input_ids", "positions", "intermediate_tensors"} <= set(parameters(forward)):
        return
    calls = {last(n.func) for n in inside(init) if isinstance(n, ast.Call)}
    decorated = any("support_torch_compile" in ast.dump(d) for d in node.decorator_list)
    if (
        "make_layers" in calls
        and not decorated
        and not _runs_layers_elsewhere(forward)
        and not _inside_compiled(node, file)
        and b"torchair" not in file.source  # the runner compiles the whole model with it
        and not _plain_upstream(node.name, file)
    ):
        yield Hit(
            node,
            f"{node.name} builds and runs the layers without @support_torch_compile: it is never compiled or captured",
        )


def _runs_layers_elsewhere(forward: ast.AST) -> bool:
    """A forward without a loop hands its work to something else."""
    return not any(isinstance(n, (ast.For, ast.While)) for n in inside(forward))


def _inside_compiled(node: ast.ClassDef, file: LintFile) -> bool:
    """Whether a decorated class of the file builds this one (OPTModel and its decoder), or derives from it."""
    for other in file.classes.values():
        if any("support_torch_compile" in ast.dump(d) for d in other.decorator_list):
            built = any(isinstance(n, ast.Call) and last(n.func) == node.name for n in inside(other))
            if built or node.name in bases(other):
                return True
    return False


def _plain_upstream(name: str, file: LintFile) -> bool:
    """Whether this vLLM's own model of that name has no decorator either: it is captured in another way."""
    return file.engine is not None and file.engine.decorated(name) is False


def _upstream(decorator: str) -> dict[str, str]:
    return {"vllm/model_executor/models/thing.py": f"{decorator}class ThingModel(nn.Module): ...\n"}


def _model(decorator: str, *, base: str = "nn.Module", loop: str = "for layer in self.layers:", make: str = "") -> str:
    built = make or "_, _, self.layers = make_layers(c.n, lambda prefix: Layer(c, prefix=prefix), prefix=prefix)"
    return f"""from torch import nn
from vllm.compilation.decorators import support_torch_compile
from vllm.model_executor.models.utils import make_layers


{decorator}class ThingModel({base}):
    def __init__(self, *, vllm_config, prefix=""):
        c = vllm_config.model_config.hf_config
        {built}

    def forward(self, input_ids, positions, intermediate_tensors=None, inputs_embeds=None):
        {loop}
            hidden_states, residual = layer(positions, hidden_states, residual)
        return hidden_states
"""


RULE = Rule(
    code="VLM003",
    name="uncompiled-model",
    summary="The class that runs the layers is not decorated with `support_torch_compile`.",
    why="vLLM compiles and splits only decorated classes; without it piecewise graphs silently cover nothing.",
    mend="Decorate the class, and say why not in an ignore comment where the model cannot be traced. With --engine a class "
    "whose namesake in vLLM has no decorator either is left alone.",
    nodes=(ast.ClassDef,),
    check=check,
    needles=(b"make_layers",),
    good=(
        Case(code=_model("@support_torch_compile\n")),
        Case(code=_model('@support_torch_compile(dynamic_arg_dims={"input_ids": 0, "positions": -1})\n')),
        Case(code=_model("", base="LlamaModel")),
        Case(code=_model("", loop="if self.model(input_ids):")),
        Case(code=_model("", make="self.layers = nn.ModuleList(c.encoders)")),
        Case(
            code=_model("") + "\n\n@support_torch_compile\nclass Outer(nn.Module):\n    def __init__(self, v):\n"
            "        self.decoder = ThingModel(vllm_config=v)\n"
        ),
        Case(code=_model(""), engine=_upstream("")),
        Case(code=_model("") + "\n# with torchair the runner compiles it\nimport torchair\n"),
    ),
    bad=(
        Case(code=_model(""), hits=(6,)),
        Case(code=_model("", loop="for layer in islice(self.layers, self.start_layer, self.end_layer):"), hits=(6,)),
        Case(code=_model("@default_pooling_type\n"), hits=(7,)),
        Case(code=_model("", base="nn.Module, SupportsLoRA"), hits=(6,)),
        Case(code=_model(""), hits=(6,), engine=_upstream("@support_torch_compile\n")),
        Case(code=_model(""), hits=(6,), engine={"vllm/model_executor/models/other.py": "class OtherModel: ...\n"}),
    ),
)
