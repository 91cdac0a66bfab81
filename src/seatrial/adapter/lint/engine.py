"""What the rules ask of one vLLM's source: does a name exist, what arguments has a function, where has a name gone."""

from __future__ import annotations

import ast
import re
from functools import cached_property
from pathlib import Path

from seatrial.adapter.lint.file import last
from seatrial.core.errors import FileFormatError
from seatrial.support.compat.names import Names
from seatrial.support.compat.relocate import Relocations
from seatrial.support.compat.truth import Truth
from seatrial.support.modules import Module, Package
from seatrial.support.registry_engine import engine_version
from seatrial.support.source import Trees, open_source

DEFINED = re.compile(
    rb"^(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)|^([A-Za-z_]\w*)[ \t]*(?::[^\n=]*)?=(?!=)", re.MULTILINE
)


IMPORTED = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(vllm(?:\.\w+)+)", re.MULTILINE)


class Places(Relocations):
    """The relocation index for every name at once: one pass over the source, however many names are asked."""

    def __init__(self, engine: Package) -> None:
        super().__init__(engine, (), ())
        for module, text in engine.texts():
            for match in DEFINED.finditer(text):
                places = self._defined.setdefault((match.group(1) or match.group(2)).decode(), [])
                if module not in places:
                    places.append(module)
        for module in engine.names():
            self._modules.setdefault(module.rpartition(".")[2], []).append(module)


class EngineFacts:
    """One vLLM, modules parsed as they are asked for. `plugin` is the package whose version tests are decided."""

    def __init__(self, trees: Trees, version: str = "", plugin: Package | None = None) -> None:
        self.package = Package("vllm", trees)
        if not self.package:
            raise FileFormatError(
                f"{trees.label}: no package vllm in it", mend="Name a vLLM source tree, sdist, wheel or environment."
            )
        self.version = version or engine_version(trees)
        self.names = Names(self.package)
        self._truth = Truth(self.names, self.version, plugin or self.package)

    @classmethod
    def open(cls, source: Path, plugin: Package | None = None) -> EngineFacts:
        """Raises SeatrialError for a source that cannot be opened or holds no vLLM."""
        return cls(open_source(source), plugin=plugin)

    def missing(self, module: str, name: str) -> bool:
        """Whether `from module import name` (or `import module`) surely fails."""
        if not self.names.has_module(module):
            return module not in self._imported_by_itself
        return bool(name) and name != "*" and self.names.resolve(module, name).status in ("missing", "no-module")

    @cached_property
    def _imported_by_itself(self) -> frozenset[str]:
        """Modules that vLLM itself imports: if one is not there, another build of this version has it."""
        found: set[str] = set()
        for _module, text in self.package.texts():
            found.update(match.decode() for match in IMPORTED.findall(text))
        return frozenset(found)

    def parameters(self, module: str, name: str) -> list[str] | None:
        """Argument names of a function; None if it is not there, takes `**kwargs`, or a compiler remakes it."""
        node = self.names.resolve(module, name).node
        if not isinstance(node, ast.FunctionDef) or node.args.kwarg is not None:
            return None
        if any(last(d.func if isinstance(d, ast.Call) else d) == "jit" for d in node.decorator_list):
            return None  # `tilelang.jit`: called with the tunables too
        return [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]

    def methods(self, module: str, name: str) -> set[str]:
        """Names of a class's own methods; empty if it is not there."""
        node = self.names.resolve(module, name).node
        if not isinstance(node, ast.ClassDef):
            return set()
        return {n.name for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}

    def decorated(self, name: str) -> bool | None:
        """Whether every model class of that name carries `support_torch_compile`; None if vLLM has none so called."""
        found = []
        for module, text in self.package.texts():
            if f"class {name}(".encode() not in text or ".models." not in f"{module}.":
                continue
            parsed = self.package.get(module)
            for node in parsed.tree.body if parsed is not None and parsed.tree is not None else ():
                if isinstance(node, ast.ClassDef) and node.name == name:
                    found.append(any("support_torch_compile" in ast.dump(d) for d in node.decorator_list))
        return all(found) if found else None

    def truth(self, test: ast.expr, module: Module) -> bool | None:
        """The value of a version test on this vLLM, None where only a run can say."""
        return self._truth.of(test, module)

    def moved(self, module: str, name: str) -> tuple[str, ...]:
        """Where a missing name (or module, if `name` is empty) may be now, likeliest first, as `module.name`."""
        return self._places.of_name(module, name) if name else self._places.of_module(module)

    @cached_property
    def _places(self) -> Relocations:
        return Places(self.package)

    @cached_property
    def architectures(self) -> frozenset[str]:
        """Names in the model registry's tables; empty if they cannot be read."""
        module = self.package.get("vllm.model_executor.models.registry")
        found: set[str] = set()
        for node in ast.walk(module.tree) if module is not None and module.tree is not None else ():
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(value, ast.Tuple):
                        found.add(key.value)
        return frozenset(found)
