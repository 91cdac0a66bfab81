"""VLM016: code from the checkpoint is trusted without the user saying so."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import FUNCTIONS, LintFile
from seatrial.adapter.lint.rule import Case, Hit, Rule

NAME = "trust_remote_code"


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if isinstance(node, ast.keyword):
        if node.arg == NAME and _true(node.value):
            yield Hit(node, "trust_remote_code=True runs the checkpoint's own Python for every user of this code")
    elif isinstance(node, FUNCTIONS):
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = list(zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True))
        pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]
        for argument, default in pairs:
            if argument.arg == NAME and _true(default):
                yield Hit(argument, f"{node.name}() trusts remote code unless told otherwise")
    elif isinstance(node, ast.AnnAssign) and (
        isinstance(node.target, ast.Name) and node.target.id == NAME and node.value is not None and _true(node.value)
    ):
        yield Hit(node, "trust_remote_code is on by default")


def _true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


RULE = Rule(
    code="VLM016",
    name="remote-code-by-default",
    summary="`trust_remote_code` is on without the user's say.",
    why="It executes Python from the checkpoint's folder or hub. vLLM leaves it off and has a flag for it.",
    mend="Pass on the model config's `trust_remote_code`.",
    nodes=(ast.keyword, ast.FunctionDef, ast.AsyncFunctionDef, ast.AnnAssign),
    check=check,
    needles=(NAME.encode(),),
    good=(
        Case(code="t = AutoTokenizer.from_pretrained(p, trust_remote_code=config.trust_remote_code)\n"),
        Case(code="def load(path, trust_remote_code=False):\n    return path\n"),
        Case(code="def load(path, *, trust_remote_code: bool):\n    return path\n"),
        Case(code="llm = LLM(model, trust_remote_code=True)\n", path="tests/e2e/test_llm.py"),
    ),
    bad=(
        Case(code="c = AutoConfig.from_pretrained(path, trust_remote_code=True)\n", hits=(1,)),
        Case(code="def load(path, trust_remote_code=True):\n    return path\n", hits=(1,)),
        Case(code="def load(path, *, trust_remote_code: bool = True):\n    return path\n", hits=(1,)),
        Case(code="class Args:\n    trust_remote_code: bool = True\n", hits=(2,)),
    ),
)
