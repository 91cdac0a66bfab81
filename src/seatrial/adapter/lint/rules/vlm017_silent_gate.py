"""VLM017: an environment variable that switches code and leaves no trace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

BUILD_SCRIPTS = ("setup.py", "build_utils.py")
# Variables of other tools: what they switch is told by those tools.
TOOLS = re.compile(r"TORCH|PYTORCH_|TRITON_INTERPRET$|RAY_|CUDA_|NCCL_|OMP_|PYTHON|UV$")
LOGS = {"warning", "warning_once", "error", "info", "info_once", "debug", "print", "critical", "exception"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.If):
        return
    name = next((n for n in map(_variable, [node.test, *inside(node.test)]) if n), "")
    if not name or TOOLS.match(name) or _taken(node.test):
        return
    branches = [n for s in (*node.body, *node.orelse) for n in (s, *inside(s))]
    if any(isinstance(n, ast.Raise) or (isinstance(n, ast.Call) and last(n.func) in LOGS) for n in branches):
        return
    if all(_sets_variable(s) for s in (*node.body, *node.orelse)) or file.path in BUILD_SCRIPTS:
        return
    yield Hit(node, f"{name} switches this code, and no log line says which way it went")


def _taken(test: ast.expr) -> bool:
    """`if value := os.environ.get(...)`: the value is used, as a path or an address is; it switches nothing."""
    return isinstance(test, ast.NamedExpr) and bool(_variable(test.value))


def _sets_variable(node: ast.stmt) -> bool:
    """`os.environ["X"] = ...`: a default is set, no code is switched."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return bool(targets) and all(isinstance(t, ast.Subscript) and last(t.value) == "environ" for t in targets)


def _variable(node: ast.AST) -> str:
    """The variable an expression reads from the environment directly."""
    argument: ast.expr | None = None
    if isinstance(node, ast.Call) and node.args:
        owner = last(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if last(node.func) == "getenv" or (last(node.func) == "get" and owner == "environ"):
            argument = node.args[0]
    elif isinstance(node, ast.Subscript) and last(node.value) == "environ":
        argument = node.slice
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else ""


RULE = Rule(
    code="VLM017",
    name="silent-environment-gate",
    summary="An environment variable switches code and no log line says so.",
    why="A feature behind a variable can be called supported only with evidence from the run's log.",
    mend="Log once which branch is taken, with the variable's name.",
    nodes=(ast.If,),
    check=check,
    needles=(b"environ", b"getenv"),
    off_because="plugins set most such gates on purpose; useful when a feature's evidence is being written",
    good=(
        Case(code='import os\n\nif os.getenv("FAST") == "1":\n    logger.info_once("FAST is on")\n    f()\n'),
        Case(code='import os\n\nif os.environ.get("HOME_PATH") is None:\n    raise RuntimeError("HOME_PATH")\n'),
        Case(code='import os\n\nvalue = os.getenv("FAST")\n'),
        Case(code='import os\n\nif fast:\n    os.environ["FAST"] = "1"\n'),
        Case(code='import os\n\nif os.environ.get("LAZY") is None:\n    os.environ["LAZY"] = "0"\n'),
        Case(code='import os\n\nif place := os.environ.get("MODEL_PLACE"):\n    load(place)\n'),
        Case(code='import os\n\nif os.environ.get("TORCHDYNAMO_DISABLE") == "1":\n    f()\n'),
        Case(code='import os\n\nif os.getenv("PACKAGE_VERSION"):\n    version = 1\n', path="setup.py"),
    ),
    bad=(
        Case(code='import os\n\nif os.getenv("FAST") == "1":\n    f()\n', hits=(3,)),
        Case(
            code='import os\n\nif os.environ.get("FLA_USE_FAST_OPS", "0") == "1":\n    exp = fast\nelse:\n    exp = slow\n',
            hits=(3,),
        ),
        Case(code='import os\n\nif bool(int(os.environ["XPU_SORTED"])):\n    f()\n', hits=(3,)),
        Case(code='import os\n\nif not os.environ.get("LAZY"):\n    os.environ["LAZY"] = "0"\n    f()\n', hits=(3,)),
        Case(code='from os import getenv\n\nif a and getenv("ROPE") != "0":\n    f()\n', hits=(3,)),
    ),
)
