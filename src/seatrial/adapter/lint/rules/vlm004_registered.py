"""VLM004: a registration that can never be found, names nothing, or stands twice."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

# Above this likeness two names that differ are one name with a slip: `Qwen3ForCasualLM`.
ALIKE = 0.93


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or not _registers(node):
        return
    name, target = _text(node.args[0]), _text(node.args[1])
    if name is None:
        return
    earlier = [
        c for c in file.by_type[ast.Call] if isinstance(c, ast.Call) and _registers(c) and _same_place(c, node, file)
    ]
    if any(_text(c.args[0]) == name for c in earlier[: earlier.index(node)]):
        yield Hit(node, f"{name} is registered a second time: only the last counts")
    if target is None:
        return
    module, colon, class_name = target.partition(":")
    if not colon or ":" in class_name or not class_name.isidentifier():
        yield Hit(node.args[1], f"{target!r} is not `module:Class`, so vLLM refuses it when the model is asked for")
        return
    top = module.split(".")[0]
    if file.plugin.has(top):
        place = file.plugin.file_of(module)
        if not place:
            yield Hit(node.args[1], f"the plugin has no module {module}")
            return
        tree = file.plugin.tree(place)
        if tree is not None and not _bound(tree) & {class_name, "*", "__getattr__"}:
            yield Hit(node.args[1], f"{module} defines no {class_name}")
            return
    known = file.engine.architectures if file.engine is not None else frozenset()
    astray = _astray(name, file, known)
    if astray or name in file.plugin.architectures:
        if astray:
            yield Hit(
                node.args[0], f"config.json's `architectures` says {astray!r}; {name!r} is what is registered here"
            )
        return
    likeness = difflib.SequenceMatcher(None, name, class_name).ratio()
    if name != class_name and name not in known and likeness >= ALIKE and not _differ_by_version(name, class_name):
        yield Hit(
            node.args[0], f"{name!r} is not quite {class_name!r}: it must be what `architectures` in config.json says"
        )


def _astray(name: str, file: LintFile, known: frozenset[str]) -> str:
    """The checkpoint's architecture that nobody registers, if this registration is the one most like it."""
    names = sorted(file.plugin.registered_names)
    for wanted in file.plugin.architectures:
        if wanted in known or wanted in names:
            continue
        scores = {n: difflib.SequenceMatcher(None, n, wanted).ratio() for n in names}
        nearest = max(scores, key=lambda n: scores[n], default="")
        # Without vLLM's own list a name far from all of the plugin's may well be vLLM's.
        if name == nearest and (known or scores[nearest] >= ALIKE):
            return wanted
    return ""


def _registers(call: ast.AST) -> bool:
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "register_model"
        and last(call.func.value) == "ModelRegistry"
        and len(call.args) == 2
    )


def _same_place(one: ast.AST, other: ast.AST, file: LintFile) -> bool:
    """In the same body: a second registration in another branch of a test is none."""
    return _body(one, file) == _body(other, file)


def _body(node: ast.AST, file: LintFile) -> tuple[int, bool]:
    below = node
    for above in file.ancestors(node):
        if isinstance(above, (ast.If, ast.Try, ast.FunctionDef, ast.Module)):
            return id(above), isinstance(above, ast.If) and below in above.orelse
        below = above
    return 0, False


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _bound(tree: ast.Module) -> set[str]:
    """Names a module may have at its top level, imports and branches included; `*` for a star import."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {a.asname or a.name for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _differ_by_version(one: str, other: str) -> bool:
    """`DeepseekV3ForCausalLM` run by `DeepseekV2ForCausalLM` is a choice, not a slip: digits or a trailing word differ."""
    letters = [c for c in difflib.ndiff(one, other) if c[0] in "+-"]
    return any(c[2].isdigit() or c[2] == "_" for c in letters) or one.startswith(other) or other.startswith(one)


def _registry(*calls: str) -> str:
    body = "\n".join(f"    ModelRegistry.register_model({c})" for c in calls)
    return f"from vllm import ModelRegistry\n\n\ndef register_model():\n{body}\n"


_MODELS = {
    "plug/__init__.py": "",
    "plug/models/__init__.py": "",
    "plug/models/qwen3.py": "class Qwen3ForCausalLM:\n    pass\n",
    "plug/models/deepseek_v2.py": "from x import Y as DeepseekV3ForCausalLM\n\n\nclass DeepseekV2ForCausalLM:\n    pass\n",
}


_REGISTRY = {
    "vllm/model_executor/models/registry.py": '_MODELS = {"LlamaForCausalLM": ("llama", "LlamaForCausalLM")}\n'
}


def _case(
    *calls: str, hits: tuple[int, ...] = (), says: tuple[str, ...] = (), engine: dict[str, str] | None = None
) -> Case:
    return Case(
        code=_registry(*calls),
        hits=hits,
        path="plug/models/registry.py",
        others=_MODELS,
        architectures=says,
        engine=engine or {},
    )


RULE = Rule(
    code="VLM004",
    name="architecture-name",
    summary="A model registration that is misspelt, names nothing, or stands twice.",
    why="vLLM finds the class by the string in the checkpoint's `architectures`, and imports it only then: a slip shows as "
    "an unsupported architecture, a wrong path as an ImportError in the engine's child process.",
    mend='Register `("ARCHITECTURE", "package.module:Class")` once, with the name config.json has; `--checkpoint` compares.',
    nodes=(ast.Call,),
    check=check,
    needles=(b"register_model",),
    good=(
        _case('"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"'),
        _case('"DeepseekV32ForCausalLM", "plug.models.deepseek_v2:DeepseekV3ForCausalLM"'),
        _case('"GlmMoeDsaForCausalLM", "plug.models.deepseek_v2:DeepseekV2ForCausalLM"'),
        _case('"LlamaForCausalLM", "vllm.model_executor.models.llama:LlamaForCausalLM"'),
        # What config.json says is right, however much it looks like a slip.
        _case('"Qwen3ForCasualLM", "plug.models.qwen3:Qwen3ForCausalLM"', says=("Qwen3ForCasualLM",)),
        _case('"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"', says=("LlamaForCausalLM",), engine=_REGISTRY),
        _case('"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"', says=("WhisperModel",)),
        Case(
            code="from vllm import ModelRegistry\n\nif new:\n"
            '    ModelRegistry.register_model("A", "other.a:A")\nelse:\n'
            '    ModelRegistry.register_model("A", "other.b:A")\n'
        ),
    ),
    bad=(
        _case('"Qwen3ForCasualLM", "plug.models.qwen3:Qwen3ForCausalLM"', hits=(5,)),
        _case('"Qwen3ForCausalLM", "plug.models.qwen3.Qwen3ForCausalLM"', hits=(5,)),
        _case('"Qwen3MoeForCausalLM", "plug.models.qwen3_moe:Qwen3MoeForCausalLM"', hits=(5,)),
        _case('"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3Model"', hits=(5,)),
        _case('"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"', hits=(5,), says=("Qwen3ForCausalLm",)),
        _case(
            '"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"',
            hits=(5,),
            says=("ThingForCausalLM",),
            engine=_REGISTRY,
        ),
        _case(
            '"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"',
            '"Qwen3ForCausalLM", "plug.models.qwen3:Qwen3ForCausalLM"',
            hits=(6,),
        ),
    ),
)
