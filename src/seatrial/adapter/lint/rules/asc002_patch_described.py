"""ASC002: a patch that is not described, or never imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile
from seatrial.adapter.lint.rule import Case, Hit, Rule

PLACE = re.compile(r"^(.*\bpatch)/(platform|worker)/((?:\w+/)*)(patch_\w+)\.py$")


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    match = PLACE.match(file.path)
    if match is None or not isinstance(node, ast.Module) or not node.body:
        return
    folder, part, deeper, name = match.groups()
    register, index = f"{folder}/__init__.py", f"{folder}/{part}/__init__.py"
    first = node.body[0]
    if register in file.plugin.files:
        text = file.plugin.text(register)
        known = re.search(rb"\b" + re.escape(f"{part}/{deeper}{name}").encode() + rb"(?:\.py)?\b", text)
        if known is None:
            yield Hit(
                first, f"{register} has no entry for {part}/{deeper}{name}.py (why, how, related PR, future plan)"
            )
    if index in file.plugin.files and name not in file.plugin.imported_words:
        yield Hit(first, f"no module of the plugin imports {name}: the patch is never applied")


_ENTRY = "# ** 1. File: worker/patch_rope.py**\n#   Why:\n#       the NPU has no such kernel\n"
_BASE = "vllm_ascend/patch/"


def _case(
    register: str,
    index: str,
    hits: tuple[int, ...] = (),
    name: str = "patch_rope.py",
    others: dict[str, str] | None = None,
) -> Case:
    files = {f"{_BASE}__init__.py": register, f"{_BASE}worker/__init__.py": index, **(others or {})}
    return Case(code="import vllm\n\nvllm.x = 1\n", hits=hits, path=f"{_BASE}worker/{name}", others=files)


_IMPORT = "import vllm_ascend.patch.worker.patch_rope  # noqa\n"

RULE = Rule(
    code="ASC002",
    name="undescribed-patch",
    summary="A patch module without its entry in `patch/__init__.py`, or that nothing imports.",
    why="vllm-ascend keeps a register of every patch (why, how, related PR, future plan) so that it can be dropped when "
    "vLLM changes; a patch missing in the sub-package's `__init__` is never applied.",
    mend="Add the entry to `patch/__init__.py` and the import to the sub-package's `__init__.py`.",
    nodes=(ast.Module,),
    check=check,
    platforms=("ascend",),
    good=(
        _case(_ENTRY, _IMPORT),
        _case(_ENTRY, "from vllm_ascend.patch.worker import patch_rope  # noqa\n"),
        _case("", "", name="helpers.py"),
        _case(
            _ENTRY.replace("patch_rope", "patch_v2/patch_uva"),
            "from . import patch_v2\n",
            name="patch_v2/patch_uva.py",
            others={f"{_BASE}worker/patch_v2/__init__.py": "from . import patch_uva\n"},
        ),
    ),
    bad=(
        _case("# no entries yet\n", _IMPORT, hits=(1,)),
        _case(_ENTRY, "", hits=(1,)),
        _case("", "", hits=(1, 1)),
        _case(_ENTRY, "# import vllm_ascend.patch.worker.patch_rope\n", hits=(1,)),
        _case(_ENTRY.replace("worker/", "platform/"), _IMPORT, hits=(1,)),
    ),
)
