"""VLM011: the embedding method's old name, on a vLLM that calls the new one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, method, parameters
from seatrial.adapter.lint.rule import Case, Hit, Rule

OLD, NEW = "get_input_embeddings", "embed_input_ids"
PROTOCOL = ("vllm.model_executor.models.interfaces_base", "VllmModel")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ClassDef) or file.engine is None or not file.is_model:
        return
    if NEW not in file.engine.methods(*PROTOCOL):
        return
    found = method(node, OLD)
    if found is None or "input_ids" not in parameters(found) or method(node, NEW) is not None or _aliased(node):
        return
    start = file.offset(found.lineno, found.col_offset)
    at = file.source.index(OLD.encode(), start)
    edits = [(at, at + len(OLD), NEW), *_calls(file)]
    yield Hit(found, f"{node.name}.{OLD}() is {NEW}() in this vLLM, which calls only that", tuple(edits))


def _aliased(node: ast.ClassDef) -> bool:
    """`embed_input_ids = get_input_embeddings` in the class body serves both."""
    return any(
        isinstance(s, ast.Assign) and any(isinstance(t, ast.Name) and t.id == NEW for t in s.targets) for s in node.body
    )


def _calls(file: LintFile) -> list[tuple[int, int, str]]:
    """The file's own calls of it: `self.model.get_input_embeddings(...)`."""
    out = []
    for node in file.by_type.get(ast.Attribute, ()):
        if isinstance(node, ast.Attribute) and node.attr == OLD and file.text(node).startswith("self."):
            end = file.span(node)[1]
            out.append((end - len(OLD), end, NEW))
    return out


_NEW_VLLM = {
    "vllm/model_executor/models/interfaces_base.py": "class VllmModel:\n    def embed_input_ids(self, input_ids): ...\n"
}
_OLD_VLLM = {
    "vllm/model_executor/models/interfaces_base.py": "class VllmModel:\n    def forward(self, input_ids, positions): ...\n"
}


def _case(body: str, hits: tuple[int, ...] = (), fixed: str = "", engine: dict[str, str] | None = None) -> Case:
    head = "from torch import nn\n\n\nclass M(nn.Module):\n"
    return Case(code=head + body, hits=hits, fixed=head + fixed if fixed else "", engine=engine or _NEW_VLLM)


_BODY = "    def {0}(self, input_ids):\n        return self.model.embed_tokens(input_ids)\n"
_FORWARD = """
    def forward(self, input_ids, positions, inputs_embeds=None):
        if inputs_embeds is None:
            inputs_embeds = self.model.{0}(input_ids)
        return inputs_embeds
"""

RULE = Rule(
    code="VLM011",
    name="old-embedding-method",
    summary="A model defines `get_input_embeddings(input_ids)` where vLLM calls `embed_input_ids`.",
    why="vLLM renamed the method; a class with only the old name does not fulfil `VllmModel`, and the engine stops with "
    "an AttributeError or calls it unsupported. Which name counts is read from the engine's `interfaces_base`.",
    mend="Rename the method and its calls.",
    nodes=(ast.ClassDef,),
    check=check,
    needles=(OLD.encode(),),
    needs_engine=True,
    fixable=True,
    good=(
        _case(_BODY.format(NEW)),
        _case(_BODY.format(OLD), engine=_OLD_VLLM),
        _case(_BODY.format(OLD) + "\n    embed_input_ids = get_input_embeddings\n"),
        _case("    def get_input_embeddings(self):\n        return self.embed_tokens\n"),
        _case(_BODY.format(OLD) + "\n" + _BODY.format(NEW)),
    ),
    bad=(
        _case(_BODY.format(OLD), hits=(5,), fixed=_BODY.format(NEW)),
        _case(_BODY.format(OLD) + _FORWARD.format(OLD), hits=(5,), fixed=_BODY.format(NEW) + _FORWARD.format(NEW)),
        _case(
            "    def get_input_embeddings(\n        self, input_ids, multimodal_embeddings=None\n    ):\n        return None\n",
            hits=(5,),
            fixed="    def embed_input_ids(\n        self, input_ids, multimodal_embeddings=None\n    ):\n        return None\n",
        ),
        _case(
            "    def get_input_embeddings(self, input_ids: torch.Tensor) -> torch.Tensor:\n        return self.e(input_ids)\n",
            hits=(5,),
            fixed="    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:\n        return self.e(input_ids)\n",
        ),
    ),
)
