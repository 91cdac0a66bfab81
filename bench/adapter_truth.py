"""What people mended by hand, read from two states of a plugin and a vLLM's text: the truth of adapter_oracle.py.

None of seatrial's resolvers is used, so that the judge does not share the faults of the judged. An import (an
attribute, an argument) is mended if it stands unguarded in a file before and no more afterwards, and if this vLLM
plainly lacks it: no file of that module, no statement that binds the name, no function of those parameters. A name that
went while this vLLM still has it was moved for another reason, and a guarded one had its other road already: neither is
counted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

GUARDS = re.compile(r"vllm_version|TYPE_CHECKING|__version__|find_spec|hasattr")
CATCHERS = re.compile(r"Error|Exception")
PROJECT = ("vllm",)


class Mended(NamedTuple):
    """`kind`: "name" (an import), "attribute" or "argument". `asked`: dotted, an argument as `function(argument)`.

    `now`: dotted names of this vLLM that took its place, or arguments now given; empty where nothing of vLLM did.
    `by`: "moved", "renamed", "own" (the plugin's own code stands in), "argument", or "dropped".
    """

    file: str
    kind: str
    asked: str
    now: tuple[str, ...]
    by: str


class Wanted(NamedTuple):
    """One name that a file imports. `guarded`: something around it gives the file another road."""

    module: str
    name: str
    bound: str
    guarded: bool


def parse(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return None


def files(root: Path) -> dict[str, Path]:
    return {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*.py")) if p.is_file() and _source(p, root)}


def _source(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return "tests" not in parts and parts[0].startswith("vllm_")


class Tree:
    """Modules below one root as text: which there are, and what they bind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bound: dict[Path, set[str]] = {}
        self._trees: dict[Path, ast.Module | None] = {}

    def place(self, module: str) -> Path | None:
        base = self.root.joinpath(*module.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
        return None

    def lacks_module(self, module: str) -> bool:
        """No file, no folder, no extension of it; and nothing in this tree that imports it (else a build makes it)."""
        base = self.root.joinpath(*module.split("."))
        if self.place(module) or base.is_dir() or (base.parent.is_dir() and any(base.parent.glob(f"{base.name}.*so"))):
            return False
        top, _, rest = module.partition(".")
        if top in PROJECT and not rest:
            return False
        return top not in PROJECT or module not in self.mentioned

    @cached_property
    def mentioned(self) -> set[str]:
        """Modules that the files below import themselves, and their parents."""
        found: set[str] = set()
        pattern = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(vllm(?:\.\w+)+)", re.MULTILINE)
        for path in (self.root / "vllm").rglob("*.py"):
            for match in pattern.findall(path.read_bytes()):
                parts = match.decode().split(".")
                found.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
        return found

    def lacks(self, module: str, name: str) -> bool:
        """Whether `from module import name` plainly fails."""
        if self.lacks_module(module):
            return True
        path = self.place(module)
        base = self.root.joinpath(*module.split("."), name)
        if path is None or not name or base.is_dir() or base.with_suffix(".py").is_file():
            return False
        bound = self.bound(path, module)
        return name not in bound and "*" not in bound and not any(base.parent.glob(f"{name}.*so"))

    def bound(self, path: Path, module: str, depth: int = 0) -> set[str]:
        """Names bound by the statements of a module; "*" where a run may bind more."""
        if path not in self._bound:
            tree = parse(path)
            text = path.read_text(encoding="utf-8", errors="replace")
            found = (
                {"*"} if tree is None or re.search(r"^def __getattr__|globals\(\)|^ *global ", text, re.M) else set()
            )
            for node in _statements(tree.body if tree is not None else []):
                found |= _binds(node)
                if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                    found.discard("*")
                    other = self.place(_absolute(node, module, path))
                    found |= (
                        self.bound(other, _absolute(node, module, path), depth + 1) if other and depth < 4 else {"*"}
                    )
            self._bound[path] = found
        return self._bound[path]

    def definition(self, module: str, name: str, depth: int = 0) -> ast.stmt | None:
        """The class or function that a name of a module is, followed through plain re-exports."""
        path = self.place(module)
        if path is not None and path not in self._trees:
            self._trees[path] = parse(path)
        tree = self._trees[path] if path is not None and depth < 5 else None
        for node in _statements(tree.body if tree is not None else []):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
                return node
            if isinstance(node, ast.ImportFrom) and path is not None:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.definition(_absolute(node, module, path), alias.name, depth + 1)
        return None


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + (path.name == "__init__.py")]
    return ".".join([*parts, node.module] if node.module else parts)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)


def _binds(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {a.asname or a.name.split(".")[0] for a in node.names}
    # Walrus and comprehension targets included: too many names only make the judge more careful.
    heads = [v for k, v in ast.iter_fields(node) if k not in ("body", "orelse", "handlers", "finalbody")]
    flat = [n for h in heads for n in (h if isinstance(h, list) else [h]) if isinstance(n, ast.AST)]
    return {n.id for head in flat for n in ast.walk(head) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def imports(nodes: list[tuple[ast.AST, bool]], module: str, path: Path, tops: tuple[str, ...]) -> list[Wanted]:
    """Every `from` import of vLLM and of the plugin itself, wherever it stands."""
    found = []
    for node, guarded in nodes:
        if isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, path)
            if base.split(".")[0] in tops:
                found += [Wanted(base, a.name, a.asname or a.name, guarded) for a in node.names if a.name != "*"]
    return found


def _guarded(node: ast.AST, guarded: bool, out: list[tuple[ast.AST, bool]]) -> None:
    """Every node, and whether a try, a suppress or a version test around it gives another road."""
    out.append((node, guarded))
    for field, value in ast.iter_fields(node):
        inner = guarded
        if isinstance(node, ast.Try) and field == "body":
            inner = inner or any(h.type is None or CATCHERS.search(ast.unparse(h.type)) for h in node.handlers)
        elif isinstance(node, ast.Try) and field == "handlers":
            inner = True
        elif isinstance(node, (ast.If, ast.IfExp)) and field in ("body", "orelse"):
            inner = inner or bool(GUARDS.search(ast.unparse(node.test)))
        elif isinstance(node, ast.With) and field == "body":
            inner = inner or any("suppress" in ast.unparse(i.context_expr) for i in node.items)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                _guarded(child, inner, out)


class State:
    """One file in one state."""

    def __init__(self, path: Path, relative: str, tops: tuple[str, ...]) -> None:
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.tree = parse(path)
        dotted = relative.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        self.nodes: list[tuple[ast.AST, bool]] = []
        if self.tree is not None:
            _guarded(self.tree, False, self.nodes)
        self.imports = imports(self.nodes, dotted, path, tops)
        self.firm = {(w.module, w.name) for w in self.imports if not w.guarded}
        self.all = {(w.module, w.name) for w in self.imports}

    def calls(self, function: str) -> list[ast.Call]:
        return self._calls.get(function, [])

    @cached_property
    def _calls(self) -> dict[str, list[ast.Call]]:
        found: dict[str, list[ast.Call]] = {}
        for node, guarded in self.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)) and not guarded:
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                found.setdefault(name, []).append(node)
        return found

    def attributes(self) -> set[tuple[str, str]]:
        """(module, attribute) of modules that a plain `import a.b as c` or `from a import b` gives."""
        modules = {f"{w.module}.{w.name}": w.bound for w in self.imports if w.module.split(".")[0] in PROJECT}
        for node, _ in self.nodes:
            if isinstance(node, ast.Import):
                modules.update({a.name: a.asname for a in node.names if a.asname and a.name.startswith("vllm.")})
        # A parameter or a variable of that name is another thing.
        taken = {n.arg for n, _ in self.nodes if isinstance(n, ast.arg)}
        taken |= {n.id for n, _ in self.nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound = {here: module for module, here in modules.items() if here not in taken}
        return {
            (bound[n.value.id], n.attr)
            for n, guarded in self.nodes
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and isinstance(n.ctx, ast.Load)
            if n.value.id in bound and not guarded
        }


def mended(before: Path, after: Path, relative: str, engine: Tree, plugin: Tree) -> list[Mended]:
    """What was mended in one file. Empty for a file that does not parse in either state."""
    package = relative.split("/")[0]
    tops = (*PROJECT, package)
    old, new = State(before, relative, tops), State(after, relative, tops)
    if old.tree is None or new.tree is None:
        return []
    return [
        *_names(old, new, relative, package, engine, plugin),
        *_attributes(old, new, relative, engine),
        *_arguments(old, new, relative, engine),
    ]


def _names(old: State, new: State, file: str, package: str, engine: Tree, plugin: Tree) -> Iterator[Mended]:
    renamed = _substituted(old, new)
    renamed: dict[str, set[str]] | None = None
    for module, name in sorted(old.firm - new.firm):
        side = plugin if module.split(".")[0] == package else engine
        if not side.lacks(module, name):
            continue
        renamed = _substituted(old, new) if renamed is None else renamed
        fresh = [w for w in new.imports if (w.module, w.name) not in old.all]
        bound = next((w.bound for w in old.imports if (w.module, w.name) == (module, name)), name)
        same = [w for w in fresh if name in (w.name, w.bound) or bound == w.bound]
        other = [w for w in fresh if w.bound in renamed.get(bound, ())]
        moved = [w for w in same if w.name == name] or same
        ours = [w for w in (*same, *other) if w.module.split(".")[0] == package]
        theirs = [
            w for w in (moved or other) if w.module.split(".")[0] in PROJECT and not engine.lacks(w.module, w.name)
        ]
        by = ("moved" if any(w.name == name for w in theirs) else "renamed") if theirs else "own" if ours else "dropped"
        yield Mended(file, "name", f"{module}.{name}", tuple(sorted({f"{w.module}.{w.name}" for w in theirs})), by)


def _attributes(old: State, new: State, file: str, engine: Tree) -> Iterator[Mended]:
    for module, name in sorted(old.attributes() - new.attributes()):
        path = engine.place(module)
        text = path.read_text(encoding="utf-8", errors="replace") if path is not None else ""
        if (
            path is None
            or re.search(rf"\b{name}\b", text)
            or (not engine.lacks(module, name) and "__getattr__" not in text)
        ):
            continue
        if engine.root.joinpath(*module.split("."), name).exists() or engine.place(f"{module}.{name}"):
            continue
        yield Mended(file, "attribute", f"{module}.{name}", (), "dropped")


def _arguments(old: State, new: State, file: str, engine: Tree) -> Iterator[Mended]:
    """Keywords that a function of this vLLM does not take, given before and not now that it is still called."""
    for want in old.imports:
        if want.module.split(".")[0] not in PROJECT or want.guarded or engine.lacks(want.module, want.name):
            continue
        before, after = old.calls(want.bound), new.calls(want.bound)
        takes = parameters(engine.definition(want.module, want.name)) if before and after else None
        if takes is None:
            continue
        gave, gives = ({k.arg for c in calls for k in c.keywords if k.arg} for calls in (before, after))
        for lost in sorted(gave - gives - takes):
            yield Mended(file, "argument", f"{want.name}({lost})", tuple(sorted((gives - gave) & takes)), "argument")


def parameters(node: ast.stmt | None) -> set[str] | None:
    """Names a function or a class's own `__init__` takes; None where it takes any, or is no plain one."""
    if isinstance(node, ast.ClassDef):
        node = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.decorator_list:
        return None
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.args.kwarg is not None:
        return None
    return {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}


def _substituted(old: State, new: State) -> dict[str, set[str]]:
    """Word for word: which name stands where another stood, in lines that are otherwise the same."""
    found: dict[str, set[str]] = {}
    ours, theirs = ({line.strip() for line in s.text.splitlines()} for s in (old, new))
    shapes: dict[tuple[str, ...], list[list[str]]] = {}
    for line in theirs - ours:
        words = re.split(r"(\w+)", line)
        shapes.setdefault(tuple(words[::2]), []).append(words)
    for line in ours - theirs:
        words = re.split(r"(\w+)", line)
        # A name alone in its line, as in a list of imports, says nothing of the name that stands elsewhere.
        if line.startswith(("from ", "import ", "#")) or len(words) < 7:
            continue
        for other in shapes.get(tuple(words[::2]), ()):
            pairs = {(a, b) for a, b in zip(words, other, strict=True) if a != b}
            if len(pairs) == 1:
                was, now = next(iter(pairs))
                found.setdefault(was, set()).add(now)
    return found
