"""What the rules ask of the plugin as a whole: its other files, its classes in place of vLLM's, its variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from functools import cached_property

from seatrial.adapter.lint.file import bases, dotted, last, module_name

# How deep the root may lie above the package: `src/pkg`, `python/pkg`.
SOURCE_FOLDERS = ("src/", "python/")
IMPORTS = re.compile(
    rb"""^[ \t]*(?:from[ \t][^#\n(]*(?:\([^)]*\))?|import[ \t][^#\n]*)|import_module\([^)]*\)""", re.MULTILINE
)

# `"ARCHITECTURE", "module:Class"` in a call, a dictionary or a list of pairs.
TARGETS = re.compile(rb"""(?:["'](\w+)["']\s*[,:]\s*\(?\s*)?["'][\w.]+:([A-Za-z_]\w*)["']""")
CUDA_REPLACED = re.compile(rb"^[ \t]*(torch\.cuda\.\w+)[ \t]*=[^=]", re.MULTILINE)
# torch_npu's own way to let code written for CUDA run: it replaces the whole module.
TRANSFERRED = re.compile(rb"^[ \t]*(?:from|import)[ \t][^#\n]*\btransfer_to_npu\b", re.MULTILINE)
PUT_IN_PLACE = re.compile(rb"^[ \t]*[A-Za-z_][\w.]*\.\w+[ \t]*=[^=]", re.MULTILINE)


class PluginFacts:
    """`files`: Python files relative to the root; `read` gives a file's bytes, when it is first needed.

    `architectures`: what config.json of the checkpoint to be served says; empty if none was named.
    """

    def __init__(self, files: Iterable[str], read: Callable[[str], bytes], architectures: tuple[str, ...] = ()) -> None:
        self.files = tuple(files)
        self.architectures = architectures
        self._read = read
        self._trees: dict[str, ast.Module | None] = {}

    def text(self, path: str) -> bytes:
        return self._read(path)

    def tree(self, path: str) -> ast.Module | None:
        """The syntax tree of one of the files; None if it does not parse."""
        if path not in self._trees:
            try:
                self._trees[path] = ast.parse(self._read(path))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._trees[path] = None
        return self._trees[path]

    @cached_property
    def _by_module(self) -> dict[str, str]:
        out: dict[str, str] = {}
        for path in self.files:
            for folder in ("", *SOURCE_FOLDERS):
                if path.startswith(folder):
                    out.setdefault(module_name(path[len(folder) :]), path)
        return out

    def file_of(self, module: str) -> str:
        """The file of a dotted module; "" if the plugin has none of that name."""
        return self._by_module.get(module, "")

    def has(self, module: str) -> bool:
        """Whether the plugin has the module, or a folder of that name."""
        return module in self._by_module or any(m.startswith(f"{module}.") for m in self._by_module)

    def classes(self, path: str) -> dict[str, ast.ClassDef]:
        """Module-level classes of a file."""
        tree = self.tree(path)
        return {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)} if tree is not None else {}

    @cached_property
    def replacements(self) -> dict[str, str]:
        """Classes of the plugin's `ops` that stand in for vLLM's of the same name: name to module.

        A class registered out of tree (`CustomOp.register_oot`) is put in place by vLLM itself and is none of them.
        """
        out: dict[str, str] = {}
        for module, path in self._by_module.items():
            if "/ops/" not in f"/{path}" or "/src." in module:
                continue
            if b"class " not in self._read(path):
                continue
            for name, node in self.classes(path).items():
                oot = any("register_oot" in ast.dump(d) for d in node.decorator_list)
                if not oot and _is_layer(node) and not name.startswith("_"):
                    out.setdefault(name, module)
        return out

    @cached_property
    def variables(self) -> frozenset[str] | None:
        """Environment variables that the plugin's `envs.py` files declare; None if it has no such file."""
        files = [p for p in self.files if p.rpartition("/")[2] == "envs.py" and p.count("/") <= 2]
        found: set[str] = set()
        for path in files:
            tree = self.tree(path)
            for node in ast.walk(tree) if tree is not None else ():
                if isinstance(node, ast.Dict):
                    found |= {k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)}
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found.add(node.target.id)
        return frozenset(found) if files else None

    @cached_property
    def imported_words(self) -> frozenset[str]:
        """Every word of every import statement of the plugin, and of strings given to `import_module`."""
        found: set[bytes] = set()
        for path in self.files:
            for statement in IMPORTS.findall(self._read(path)):
                found.update(re.findall(rb"\w+", statement))
        return frozenset(word.decode("utf-8", "replace") for word in found)

    @cached_property
    def registered(self) -> frozenset[str]:
        """Class names at the end of the targets the plugin registers (`"ARCHITECTURE", "module:Class"`)."""
        return frozenset(target for _, target in self._registrations)

    @cached_property
    def registered_names(self) -> frozenset[str]:
        """Architecture names the plugin registers, as far as they stand beside their target as strings."""
        return frozenset(name for name, _ in self._registrations if name)

    @cached_property
    def _registrations(self) -> frozenset[tuple[str, str]]:
        texts = (self._read(p) for p in self.files)
        found = {m for text in texts if b"register_model" in text for m in TARGETS.findall(text)}
        return frozenset((name.decode(), target.decode()) for name, target in found)

    @cached_property
    def replaced(self) -> frozenset[str]:
        """Functions of vLLM that the plugin puts its own in place of (`module.NAME = ...`), by their dotted name."""
        found: set[str] = set()
        for path in self.files:
            if b"vllm" not in self._read(path) or not PUT_IN_PLACE.search(self._read(path)):
                continue
            tree = self.tree(path)
            names: dict[str, str] = {}
            for node in ast.walk(tree) if tree is not None else ():
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
                elif isinstance(node, ast.Import):
                    names |= {a.asname: a.name for a in node.names if a.asname}
                elif isinstance(node, ast.Assign):
                    for target in node.targets:
                        head, _, rest = dotted(target).partition(".")
                        if rest:
                            found.add(f"{names.get(head, head)}.{rest}")
        return frozenset(f for f in found if f.startswith("vllm."))

    @cached_property
    def cuda_replaced(self) -> frozenset[str]:
        """Names of `torch.cuda` that the plugin puts others in place of; `torch.cuda` where a tool does it for all."""
        found: set[str] = set()
        for path in self.files:
            text = self._read(path)
            if b"transfer_to_npu" in text and TRANSFERRED.search(text):
                found.add("torch.cuda")
            if b"torch.cuda." in text:
                found.update(match.decode() for match in CUDA_REPLACED.findall(text))
        return frozenset(found)

    @cached_property
    def platform_enum(self) -> str:
        """What the plugin's platform class says of itself (`_enum = PlatformEnum.OOT` gives `OOT`); "" if unknown."""
        for path in self.files:
            if "platform" not in path or b"PlatformEnum" not in self._read(path):
                continue
            for node in self.classes(path).values():
                for statement in node.body:
                    if isinstance(statement, ast.Assign) and any(last(t) == "_enum" for t in statement.targets):
                        return last(statement.value)
        return ""

    @cached_property
    def mends_schemas(self) -> bool:
        """Whether the plugin rewrites annotations before torch infers an operator's schema from them."""
        return any(
            p.rpartition("/")[2] in ("schema.py", "vllm_utils_wrapper.py")
            and b"patch_annotations_for_schema" in self._read(p)
            for p in self.files
        )


def _is_layer(node: ast.ClassDef) -> bool:
    """Whether a class looks like a layer: it has parameters or a forward, or derives from something that does."""
    names = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
    return bool(names & {"forward", "forward_oot"}) or bool(bases(node) & {"Module", "CustomOp"})
