"""VLM005: a decision that hangs on `VLLM_USE_V1`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from packaging.version import Version

from seatrial.adapter.lint.file import LintFile, last
from seatrial.adapter.lint.rule import Case, Hit, Rule
from seatrial.support.compat.truth import parse_version

NAME = "VLLM_USE_V1"
# The first release without the V0 engine.
V1_ONLY = Version("0.11.0")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    version = parse_version(file.engine.version) if file.engine is not None else None
    if version is not None and version < V1_ONLY:
        return
    if isinstance(node, ast.Attribute):
        if node.attr != NAME or not isinstance(node.ctx, ast.Load) or "envs" not in file.origin(node.value):
            return
        if any(isinstance(a, ast.JoinedStr) for a in file.ancestors(node)):
            return  # a message, not a decision
    elif not (isinstance(node, ast.Constant) and node.value == NAME and _is_read(node, file)):
        return
    yield Hit(
        node, "VLLM_USE_V1 decides nothing since vLLM 0.11: there is only V1, and later releases lack the variable"
    )


def _is_read(node: ast.Constant, file: LintFile) -> bool:
    parent = file.parent(node)
    if isinstance(parent, ast.Call) and parent.args and parent.args[0] is node:
        owner = last(parent.func.value) if isinstance(parent.func, ast.Attribute) else ""
        return last(parent.func) == "getenv" or (last(parent.func) == "get" and owner == "environ")
    return isinstance(parent, ast.Subscript) and last(parent.value) == "environ" and isinstance(parent.ctx, ast.Load)


RULE = Rule(
    code="VLM005",
    name="use-v1-switch",
    summary="Logic on `VLLM_USE_V1`.",
    why="V0 is gone since vLLM 0.11, and `vllm.envs` loses the name in later releases: the test is constant at best and "
    "an AttributeError on the first use at worst.",
    mend="Keep the V1 branch and delete the other.",
    nodes=(ast.Attribute, ast.Constant),
    check=check,
    needles=(NAME.encode(),),
    good=(
        Case(code='import vllm.envs as envs\n\nprint(f"{envs.VLLM_USE_V1 = }")\n'),
        Case(code='import os\n\nos.environ["VLLM_USE_V1"] = "1"\n'),
        Case(code='import os\n\nos.environ.setdefault("VLLM_USE_V1", "1")\n'),
        Case(code='NAMES = ["VLLM_USE_V1", "VLLM_PORT"]\n'),
        Case(code="import vllm.envs as envs\n\nif envs.VLLM_USE_V2_MODEL_RUNNER:\n    pass  # not VLLM_USE_V1\n"),
    ),
    bad=(
        Case(code="import vllm.envs as envs\n\nif envs.VLLM_USE_V1:\n    pass\n", hits=(3,)),
        Case(code='import os\n\nuse_v1 = os.getenv("VLLM_USE_V1", "1") == "1"\n', hits=(3,)),
        Case(code='import os\n\nif os.environ.get("VLLM_USE_V1"):\n    pass\n', hits=(3,)),
        Case(code='import os\n\nif os.environ["VLLM_USE_V1"] == "0":\n    pass\n', hits=(3,)),
        Case(code="from vllm import envs\n\n\ndef f(c):\n    return c.graph and envs.VLLM_USE_V1\n", hits=(5,)),
    ),
)
