"""The class of a changed run of lines: by where it stands and what it says. A help to a reviewer, not a proof.

In: path, old and new text, the changed lines. Out: class and reason. First match counts, in this order: formatting
(the syntax tree is the same, or only comments and blanks changed) is unrelated; then import; then tests and documents
are delivery; then mapping and kernel by what the lines say; then the folder: model files are model, operators and
patches kernel; the rest is unrelated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import NamedTuple

from seatrial.adapter.changes.record import Kind

KINDS: dict[Kind, str] = {
    "mapping": "weight names, packed modules, registration of models",
    "import": "import statements",
    "kernel": "operators, attention, quantisation, patches of the platform",
    "model": "other lines of model and processor files",
    "delivery": "tests, test configurations, documents",
    "unrelated": "anything else, and formatting",
}
MAPPING = re.compile(
    r"stacked_params_mapping|packed_modules|hf_to_vllm_mapper|WeightsMapper|weights_mapper|expert_params_mapping"
    r"|orig_to_new_|register_model\(|_MODELS\b|make_expert_params_mapping|maybe_remap"
)
MAPPING_FUNCTIONS = re.compile(r"(?:^|\.)(?:load_weights|weight_loader|get_expert_mapping|register_model|remap_\w+)$")
MAPPING_FILES = re.compile(r"(?:^|/)models/(?:registry|__init__)\.py$")
KERNEL = re.compile(r"torch\.ops\.|torch_npu|kunlun_ops|xspeedgate_ops|triton|custom_op|@CustomOp|register_oot")
KERNEL_FOLDERS = {"ops", "attention", "kernels", "csrc", "patch", "patches", "quantization", "compilation", "worker"}
MODEL_FOLDERS = {"models", "processors", "configs"}
DELIVERY_FOLDERS = {"tests", "test", "docs", "examples", "benchmarks"}
IMPORT = re.compile(r"^\s*(?:from\s+[\w.]+\s+import\b|import\s+[\w.]+)")


class Class(NamedTuple):
    kind: Kind
    why: str


class FileText:
    """One file before and after, and what can be asked of its lines."""

    def __init__(self, path: str, old: str, new: str) -> None:
        self.path = path
        self.folders = set(path.split("/")[:-1])
        self.python = path.endswith(".py")
        self.old_tree = _parsed(old) if self.python else None
        self.new_tree = _parsed(new) if self.python else None
        self.same_code = (
            self.old_tree is not None
            and self.new_tree is not None
            and ast.dump(self.old_tree) == ast.dump(self.new_tree)
        )
        self._old_imports = _import_lines(self.old_tree)
        self._new_imports = _import_lines(self.new_tree)

    def classify(self, old_start: int, removed: Sequence[str], new_start: int, added: Sequence[str]) -> Class:
        """The class of a run: `removed` lines from `old_start` on, `added` ones from `new_start` on."""
        said = [*removed, *added]
        if self.same_code and said:
            return Class("unrelated", "formatting: the code is the same")
        if self.python and all(not line.strip() or line.lstrip().startswith("#") for line in said):
            return Class("unrelated", "only comments or blank lines")
        if self.python and self._all_imports(old_start, removed, new_start, added):
            return Class("import", "import statements")
        text = "\n".join(said)
        if DELIVERY_FOLDERS & self.folders or self.path.endswith((".md", ".rst", ".po")):
            return Class("delivery", "tests or documents")
        if MAPPING_FILES.search(self.path) or MAPPING.search(text):
            return Class("mapping", "names weights or registers a model")
        where = _function_at(self.new_tree, new_start) if added else _function_at(self.old_tree, old_start)
        if MAPPING_FUNCTIONS.search(where):
            return Class("mapping", f"in {where}")
        if KERNEL.search(text):
            return Class("kernel", "calls or registers an operator")
        if MODEL_FOLDERS & self.folders:
            return Class("model", "a model or processor file")
        if KERNEL_FOLDERS & self.folders:
            return Class("kernel", f"in {next(p for p in self.path.split('/') if p in KERNEL_FOLDERS)}/")
        return Class("unrelated", "neither a model, an operator, a mapping nor a test")

    def _all_imports(self, old_start: int, removed: Sequence[str], new_start: int, added: Sequence[str]) -> bool:
        pairs = [(n, line, self._old_imports) for n, line in enumerate(removed, old_start)]
        pairs += [(n, line, self._new_imports) for n, line in enumerate(added, new_start)]
        return all(not line.strip() or n in lines for n, line, lines in pairs)


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _import_lines(tree: ast.Module | None) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _function_at(tree: ast.Module | None, line: int) -> str:
    """`Class.function` around a line; "" at module level."""
    names: list[str] = []
    body: Sequence[ast.stmt] = tree.body if tree is not None else ()
    while True:
        holder = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        inner = next(
            (n for n in body if isinstance(n, holder) and n.lineno <= line <= (n.end_lineno or n.lineno)), None
        )
        if not isinstance(inner, holder):
            return ".".join(names)
        names.append(inner.name)
        body = inner.body
