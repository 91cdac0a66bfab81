"""VLM014: a wait for the device inside a region that is captured as a graph."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, parameters
from seatrial.adapter.lint.rule import Case, Hit, Rule

WAITS = {"item", "tolist", "cpu", "numpy"}
# What the layers of a language model are called with; a vision tower or a pooler runs outside the graph.
IN_GRAPH = ({"positions", "hidden_states"}, {"hidden_states", "residual"}, {"positions", "input_ids"})


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not file.is_model:
        return
    if node.func.attr not in WAITS or node.args or node.keywords:
        return
    function = file.function(node)
    klass = file.klass(node)
    if function is None or klass is None or function.name != "forward":
        return
    names = set(parameters(function))
    compiled = any("support_torch_compile" in ast.dump(d) for d in klass.decorator_list)
    if not (compiled or any(need <= names for need in IN_GRAPH)) or _on_host(node.func.value, file):
        return
    yield Hit(
        node,
        f".{node.func.attr}() in {klass.name}.forward waits for the device: it breaks graph capture, "
        "and in a captured graph its value is frozen",
    )


def _on_host(node: ast.expr, file: LintFile) -> bool:
    """Whether the value is read from a host-side copy by its name (`seq_lens_cpu`), or from a configuration."""
    text = file.text(node)
    return "_cpu" in text or "config" in text or "np." in text


def _case(
    body: str,
    hits: tuple[int, ...] = (),
    arguments: str = "positions, hidden_states",
    name: str = "forward",
    head: str = "",
) -> Case:
    code = (
        f"from torch import nn\n\n\n{head}class Layer(nn.Module):\n    def {name}(self, {arguments}):\n        {body}\n"
    )
    return Case(code=code, hits=hits)


RULE = Rule(
    code="VLM014",
    name="host-sync-in-graph",
    summary="`.item()`, `.cpu()`, `.tolist()` or `.numpy()` in a forward that is captured as a graph.",
    why="During capture a wait for the device is an error on NPU and CUDA; where it passes, the value of the capture run is "
    "replayed for every later request.",
    mend="Take the number from the attention metadata's host copy, or compute it before the forward.",
    nodes=(ast.Call,),
    check=check,
    needles=(b".item()", b".cpu()", b".tolist()", b".numpy()"),
    good=(
        _case("return hidden_states + positions"),
        _case("n = metadata.seq_lens_cpu.max().item()"),
        _case("grid = grid_thw.tolist()", arguments="x, grid_thw"),
        _case("n = positions.max().item()", name="load_weights"),
        _case("k = self.config.sizes.tolist()"),
    ),
    bad=(
        _case("n = positions.max().item()", hits=(6,)),
        _case("ids = hidden_states.cpu()", hits=(6,), arguments="hidden_states, residual"),
        _case("rows = input_ids.tolist()", hits=(6,), arguments="input_ids, positions, intermediate_tensors"),
        _case("x = y.numpy()", hits=(7,), arguments="y", head="@support_torch_compile\n"),
    ),
)
