"""ASC003: a variable of the plugin's that its `envs.py` does not declare."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

SAYS = {"warning", "warning_once", "warn", "error"}
PREFIX = "VLLM_ASCEND_"


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    declared = file.plugin.variables
    if declared is None or file.path.endswith("/envs.py") or "vllm_ascend" not in file.path.split("/")[:-1]:
        return
    name = ""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        owner = file.origin(node.value)
        if owner.endswith("vllm_ascend.envs") and node.attr.isupper():
            name = node.attr
            said = f"{owner} declares no {name}: an AttributeError when this runs"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PREFIX):
        if _read(node, file):
            name = node.value
            said = f"{name} is read here and declared nowhere: no documentation, no default, no report of it"
    if name and name not in declared and not _told_off(node, file):
        yield Hit(node, said)


def _told_off(node: ast.AST, file: LintFile) -> bool:
    """Whether it is only asked for in order to say that it is gone: a warning or an error and nothing else."""
    test = next((a for a in file.ancestors(node) if isinstance(a, ast.stmt)), None)
    if not isinstance(test, ast.If) or node not in inside(test.test) or test.orelse:
        return False
    return all(
        isinstance(s, ast.Raise)
        or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and last(s.value.func) in SAYS)
        for s in test.body
    )


def _read(node: ast.Constant, file: LintFile) -> bool:
    parent = file.parent(node)
    if isinstance(parent, ast.Call) and parent.args and parent.args[0] is node:
        return last(parent.func) == "getenv" or (
            last(parent.func) == "get"
            and isinstance(parent.func, ast.Attribute)
            and last(parent.func.value) == "environ"
        )
    return isinstance(parent, ast.Subscript) and last(parent.value) == "environ" and isinstance(parent.ctx, ast.Load)


_ENVS = {
    "vllm_ascend/envs.py": 'import os\n\nenv_variables = {\n    "VLLM_ASCEND_ENABLE_NZ": lambda: os.getenv("VLLM_ASCEND_ENABLE_NZ", 1),\n'
    '    "DYNAMIC_EPLB": lambda: os.getenv("DYNAMIC_EPLB"),\n}\n'
}


def _case(code: str, hits: tuple[int, ...] = (), path: str = "vllm_ascend/ops/thing.py") -> Case:
    return Case(code=code, hits=hits, path=path, others=_ENVS)


_HEAD = "import os\nimport vllm_ascend.envs as envs_ascend\n\n"

RULE = Rule(
    code="ASC003",
    name="undeclared-variable",
    summary="A `VLLM_ASCEND_*` variable is used that `envs.py` does not declare.",
    why="`vllm_ascend/envs.py` is where the plugin's variables get their default, their documentation and their place in "
    "the report of the environment; names that left it (FlashComm1's did) stay in copied code and do nothing.",
    mend="Declare it in `envs.py`, or use what replaced it.",
    nodes=(ast.Attribute, ast.Constant),
    check=check,
    needles=(PREFIX.encode(), b"envs"),
    platforms=("ascend",),
    good=(
        _case(_HEAD + "x = envs_ascend.VLLM_ASCEND_ENABLE_NZ\n"),
        _case(_HEAD + 'x = os.getenv("VLLM_ASCEND_ENABLE_NZ", "1")\n'),
        _case(_HEAD + 'x = os.getenv("HCCL_BUFFSIZE")\n'),
        _case(_HEAD + 'logger.warning("VLLM_ASCEND_ENABLE_FLASHCOMM1 is gone")\n'),
        _case(_HEAD + 'os.environ["VLLM_ASCEND_CHILD"] = "1"\n'),
        _case(
            _HEAD + 'if "old" in extra or os.getenv("VLLM_ASCEND_OLD") is not None:\n    logger.warning("it is gone")\n'
        ),
        _case(_HEAD + 'ref = os.getenv("VLLM_ASCEND_REF", "HEAD")\n', path="tools/bisect/auto_bisect.py"),
    ),
    bad=(
        _case(_HEAD + "x = envs_ascend.VLLM_ASCEND_ENABLE_FLASHCOMM1\n", (4,)),
        _case(_HEAD + 'x = os.getenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", "0")\n', (4,)),
        _case(_HEAD + 'if os.getenv("VLLM_ASCEND_OLD"):\n    logger.warning("old")\n    f()\n', (4,)),
        _case(_HEAD + 'if os.environ.get("VLLM_ASCEND_TRACE"):\n    pass\n', (4,)),
        _case("import os\n\nx = os.environ['VLLM_ASCEND_MODEL_EXECUTE_TIME']\n", (3,)),
        _case("from vllm_ascend import envs\n\nx = envs.VLLM_ASCEND_ENABLE_TOPK\n", (3,)),
    ),
)
