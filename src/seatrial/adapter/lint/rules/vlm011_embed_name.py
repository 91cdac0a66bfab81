"""VLM011: the embedding method's old name, on a vLLM that calls the new one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import Function, LintFile, bases, method, parameters
from seatrial.adapter.lint.rule import Case, Hit, Rule

OLD, NEW = "get_input_embeddings", "embed_input_ids"
PROTOCOL = ("vllm.model_executor.models.interfaces_base", "VllmModel")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ClassDef) or file.engine is None or not file.is_model:
        return
    if NEW not in file.engine.methods(*PROTOCOL) or not _asked(node, file):
        return
    found = _old(node)
    if found is None:
        return
    # Inner classes are this file's own affair, but they are renamed with their callers.
    edits = [_rename(f, file) for f in map(_old, file.classes.values()) if f is not None]
    yield Hit(found, f"{node.name}.{OLD}() is {NEW}() in this vLLM, which calls only that", (*edits, *_calls(file)))


def _asked(node: ast.ClassDef, file: LintFile) -> bool:
    """Whether vLLM itself calls this class: it is registered, or has what only a whole model has."""
    names = {node.name, *_ancestors(node, file)}
    if any(n.startswith("Supports") and n != "SupportsQuant" for n in names):
        return True
    for name in names & file.classes.keys():
        if method(file.classes[name], "compute_logits") is not None:
            return True
    return node.name in file.plugin.registered


def _ancestors(node: ast.ClassDef, file: LintFile) -> set[str]:
    """Names of its bases, and of theirs as far as this file has them."""
    found: set[str] = set()
    todo = [node]
    while todo:
        for name in bases(todo.pop()) - found:
            found.add(name)
            if name in file.classes:
                todo.append(file.classes[name])
    return found


def _old(node: ast.ClassDef) -> Function | None:
    """The class's method of the old name, if the class has not the new one too."""
    found = method(node, OLD)
    if found is None or "input_ids" not in parameters(found) or method(node, NEW) is not None or _aliased(node):
        return None
    return found


def _rename(found: Function, file: LintFile) -> tuple[int, int, str]:
    at = file.source.index(OLD.encode(), file.offset(found.lineno, found.col_offset))
    return at, at + len(OLD), NEW


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
            if not _elsewhere(node, file):
                end = file.span(node)[1]
                out.append((end - len(OLD), end, NEW))
    return out


def _elsewhere(node: ast.Attribute, file: LintFile) -> bool:
    """Whether what is called is a class of another module of the plugin, which may keep the old name."""
    for assigned in file.by_type.get(ast.Assign, ()):
        if not isinstance(assigned, ast.Assign) or not isinstance(assigned.value, ast.Call):
            continue
        if any(file.text(t) == file.text(node.value) for t in assigned.targets):
            module = file.origin(assigned.value.func).rpartition(".")[0]
            path = file.plugin.file_of(module)
            if path and f"def {OLD}".encode() in file.plugin.text(path):
                return f"def {NEW}".encode() not in file.plugin.text(path)
    return False


_NEW_VLLM = {
    "vllm/model_executor/models/interfaces_base.py": "class VllmModel:\n    def embed_input_ids(self, input_ids): ...\n"
}
_OLD_VLLM = {
    "vllm/model_executor/models/interfaces_base.py": "class VllmModel:\n    def forward(self, input_ids, positions): ...\n"
}


def _case(body: str, hits: tuple[int, ...] = (), fixed: str = "", engine: dict[str, str] | None = None) -> Case:
    head = "from torch import nn\n\n\nclass M(nn.Module, SupportsPP):\n"
    return Case(code=head + body, hits=hits, fixed=head + fixed if fixed else "", engine=engine or _NEW_VLLM)


def _pair(inner: str, outer: str, tail: str = "", base: str = "nn.Module") -> str:
    """An inner model and the class vLLM calls, as forks have them."""
    return (
        f"from torch import nn\n\n\nclass ThingModel({base}):\n    def {inner}(self, input_ids):\n"
        "        return self.embed_tokens(input_ids)\n\n\nclass ThingForCausalLM(nn.Module):\n"
        f"    def {outer}(self, input_ids):\n        return self.model.{inner}(input_ids)\n\n"
        f"    def compute_logits(self, hidden_states):\n        return hidden_states\n{tail}"
    )


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
    "an AttributeError or calls it unsupported. Inner classes, which only the file itself calls, are let be. Which name counts is read from the engine's `interfaces_base`.",
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
        Case(code=_pair(OLD, NEW), engine=_NEW_VLLM),  # the inner name is nobody else's affair
        Case(code=_pair(OLD, NEW, tail="\n    get_input_embeddings = embed_input_ids\n"), engine=_NEW_VLLM),
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
        Case(code=_pair(OLD, OLD), hits=(10,), fixed=_pair(NEW, NEW), engine=_NEW_VLLM),
        Case(
            code=_pair(NEW, OLD),
            hits=(10,),
            fixed=_pair(NEW, NEW),
            engine=_NEW_VLLM,
        ),
    ),
)
