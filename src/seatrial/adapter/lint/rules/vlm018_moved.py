"""VLM018: an import of something this vLLM does not have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile
from seatrial.adapter.lint.rule import Case, Hit, Rule
from seatrial.support.modules import absolute

CATCHERS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if file.engine is None or not isinstance(node, (ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.Import):
        wanted = [(a.name, "") for a in node.names]
    else:
        wanted = [(absolute(file.parsed, node), a.name) for a in node.names]
    wanted = [w for w in wanted if w[0].split(".")[0] == "vllm"]
    missing = [w for w in wanted if file.engine.missing(*w)]
    if not missing or file.caught(node) & CATCHERS or _dead(node, file):
        return
    places = {w: file.engine.moved(*w) for w in missing}
    edits = _fix(node, file, {w: p[0] for w, p in places.items() if len(p) == 1})
    for want in missing:
        module, name = want
        lost = file.engine.names.has_module(module)
        what = f"{module} has no {name!r}" if name and lost else f"there is no module {module}"
        if name and not lost:
            what += f" (for {name!r})"
        now = f"; now {' or '.join(places[want][:2])}" if places[want] else "; nothing of that name is left"
        yield Hit(node, f"vLLM {file.engine.version or '(this source)'}: {what}{now}", edits)


def _dead(node: ast.AST, file: LintFile) -> bool:
    """Whether a test around the import keeps it from this vLLM: a version test, or TYPE_CHECKING."""
    below = node
    for above in file.ancestors(node):
        if isinstance(above, ast.If) and below is not above.test and file.engine is not None:
            value = file.engine.truth(above.test, file.parsed)
            if value is not None and value != (below in above.body):
                return True
        below = above
    return False


def _fix(
    node: ast.Import | ast.ImportFrom, file: LintFile, places: dict[tuple[str, str], str]
) -> tuple[tuple[int, int, str], ...]:
    """One import statement a module, where every missing name has exactly one place left and no comment is in the way."""
    if isinstance(node, ast.Import) or file.engine is None or b"#" in file.text(node).encode():
        return ()
    base = absolute(file.parsed, node)
    statements: dict[str, list[str]] = {}
    for alias in node.names:
        module = base
        if file.engine.missing(base, alias.name):
            if (base, alias.name) not in places:
                return ()
            module, _, name = places[base, alias.name].rpartition(".")
            if name != alias.name:
                return ()
        statements.setdefault(module, []).append(f"{alias.name} as {alias.asname}" if alias.asname else alias.name)
    indent = file.line_bytes(node.lineno)[: node.col_offset].decode()
    if indent.strip():
        return ()
    lines = [f"from {module} import {', '.join(names)}" for module, names in statements.items()]
    start, end = file.span(node)
    return ((start, end, f"{file.newline}{indent}".join(lines)),)


_ENGINE = {
    "vllm/__init__.py": "",
    "vllm/_version.py": "__version__ = '0.15.1'\n",
    "vllm/attention/__init__.py": "",
    "vllm/attention/layer.py": "class Attention: ...\n",
    "vllm/v1/attention/backend.py": "class AttentionType: ...\nclass AttentionBackend: ...\n",
    "vllm/utils/__init__.py": "def random_uuid(): ...\n",
    "vllm/utils/math_utils.py": "def cdiv(a, b): ...\ndef round_down(a, b): ...\n",
    "vllm/config.py": "class VllmConfig: ...\n",
}


def _case(code: str, hits: tuple[int, ...] = (), fixed: str = "") -> Case:
    return Case(code=code, hits=hits, fixed=fixed, engine=_ENGINE)


RULE = Rule(
    code="VLM018",
    name="moved-name",
    summary="An import names something that this vLLM does not have, or has elsewhere.",
    why="vLLM moves names between releases without notice; the import fails when the model is first asked for. Both the "
    "absence and the new place are read from the engine's source.",
    mend="Import from where it is now. `seatrial compat` also checks calls, overrides, patches and what each breaks.",
    nodes=(ast.ImportFrom, ast.Import),
    check=check,
    needles=(b"vllm",),
    needs_engine=True,
    fixable=True,
    good=(
        _case("from vllm.attention.layer import Attention\n"),
        _case(
            "try:\n    from vllm.utils import cdiv\nexcept ImportError:\n    from vllm.utils.math_utils import cdiv\n"
        ),
        _case(
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from vllm.attention import AttentionMetadata\n"
        ),
        _case("from contextlib import suppress\n\nwith suppress(ImportError):\n    from vllm.utils import cdiv\n"),
        _case("import vllm.config\nfrom vllm.utils import random_uuid\n"),
    ),
    bad=(
        _case(
            "from vllm.attention import Attention\n", hits=(1,), fixed="from vllm.attention.layer import Attention\n"
        ),
        _case(
            "def f():\n    from vllm.utils import cdiv, random_uuid\n",
            hits=(2,),
            fixed="def f():\n    from vllm.utils.math_utils import cdiv\n    from vllm.utils import random_uuid\n",
        ),
        _case(
            "from vllm.attention.backends.abstract import (\n    AttentionBackend,\n    AttentionType,\n)\n",
            hits=(1, 1),
            fixed="from vllm.v1.attention.backend import AttentionBackend, AttentionType\n",
        ),
        _case("from vllm.model_executor.sampling_metadata import SamplingMetadata\n", hits=(1,)),
        _case("import vllm.worker.model_runner\n", hits=(1,)),
        _case("from vllm.utils import (  # helpers\n    cdiv,\n)\n", hits=(1,)),
    ),
)
