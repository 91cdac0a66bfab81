"""The registration of an architecture, added to a plugin in the plugin's own style.

In: the plugin's sources, an architecture, `module:Class`. Out: the file to change and its new text. Three styles are
known: a table (`{"Arch": "module:Class"}` or a list of pairs) that a loop registers, a row of `register_model` calls
(the last one's form is followed), and an entry point that registers nothing yet. Refused (UsageError): a plugin without
an entry point of `vllm.general_plugins`, and one whose registration has none of these forms.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from seatrial.adapter.port.cst import cst
from seatrial.core.errors import UsageError
from seatrial.support.modules import Package
from seatrial.support.registry_plugin import read_plugin
from seatrial.support.registry_read import plugin_distribution, plugin_package
from seatrial.support.registry_records import Registered
from seatrial.support.source import Distribution, Trees

GROUP = "vllm.general_plugins"


class Registration(NamedTuple):
    """`path` relative to the source's root; `text` is None where the plugin registers it so already."""

    path: str
    text: str | None
    style: str


class PluginSource:
    """A plugin's sources, opened: its distribution, its package and what it registers."""

    def __init__(self, trees: Trees) -> None:
        self.label = trees.label
        self.distribution: Distribution = plugin_distribution(trees)
        self.package: Package = plugin_package(trees, self.distribution)
        self.registered: dict[str, Registered] = {
            m.architecture: m
            for m in read_plugin(self.package, self.distribution.name, self.distribution.plugins()).models
        }

    def models_package(self) -> str:
        """The package that most of the registered model files lie in; `PACKAGE.models` where there are none."""
        counts: dict[str, int] = {}
        for entry in self.registered.values():
            parent = entry.module.rpartition(".")[0]
            if parent.startswith(self.package.name):
                counts[parent] = counts.get(parent, 0) + 1
        # The shortest of the commonest: a model that is a package of its own has a deeper one.
        return min(counts, key=lambda p: (-counts[p], len(p))) if counts else f"{self.package.name}.models"


def register(plugin: PluginSource, architecture: str, module: str, class_name: str) -> Registration:
    """Where and how `architecture` is registered as `module:class_name`."""
    path = f"{module}:{class_name}"
    known = plugin.registered.get(architecture)
    if known is not None and known.class_path == path:
        return Registration(known.place.rpartition(":")[0], None, "already registered")
    if known is not None:
        raise UsageError(
            f"{plugin.distribution.name} already registers {architecture} as {known.class_path} ({known.place})",
            mend="Remove that registration first, or port into that file.",
        )
    places = [(e.place.rpartition(":")[0], int(e.place.rpartition(":")[2])) for e in plugin.registered.values()]
    if places:
        # The file with most of them, then the last line in it.
        files = [file for file, _ in places]
        file = max(sorted(set(files)), key=files.count)
        line = max(number for name, number in places if name == file)
        return _beside(plugin, file, line, architecture, path)
    return _first(plugin, architecture, path)


def _source(plugin: PluginSource, file: str) -> str:
    for name in plugin.package.names():
        if plugin.package.path(name) == file:
            module = plugin.package.get(name)
            if module is not None and module.source is not None:
                return module.source.decode("utf-8")
    raise UsageError(f"{file} is not in {plugin.label}")


def _by_hand(plugin: PluginSource, architecture: str, path: str, why: str) -> UsageError:
    return UsageError(
        f"{plugin.label}: the registration cannot be added by program: {why}",
        mend=f'Add by hand: ModelRegistry.register_model("{architecture}", "{path}").',
    )


def _beside(plugin: PluginSource, file: str, line: int, architecture: str, path: str) -> Registration:
    """After the call at `line`, in its form; or in the table that it goes through."""
    libcst = cst()
    source = _source(plugin, file)
    call = _call_at(ast.parse(source), line)
    if call is None:
        raise _by_hand(plugin, architecture, path, f"no call was found at {file}:{line}")
    literal = len(call.args) == 2 and all(isinstance(a, ast.Constant) for a in call.args)
    literal = literal or {k.arg for k in call.keywords if isinstance(k.value, ast.Constant)} >= {
        "model_arch",
        "model_cls",
    }
    if literal:
        from seatrial.adapter.port.cst_edits import AddCall

        edit = AddCall(line, architecture, path)
        text = libcst.MetadataWrapper(libcst.parse_module(source)).visit(edit).code
        if edit.done:
            return Registration(file, text, "call")
    from seatrial.adapter.port.cst_edits import AddRow

    neighbour = next(e for e in plugin.registered.values() if e.place == f"{file}:{line}")
    # The last row of the table, whichever architecture that is.
    rows = [e for e in plugin.registered.values() if e.place == neighbour.place]
    row = AddRow({e.architecture: e.class_path for e in rows}, architecture, path)
    text = libcst.parse_module(source).visit(row).code
    if not row.done:
        raise _by_hand(plugin, architecture, path, f"{file}:{line} registers in a form that is not known")
    return Registration(file, text, "table")


def _call_at(tree: ast.Module, line: int) -> ast.Call | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.lineno == line and ast.unparse(node.func).endswith("register_model"):
            return node
    return None


def _first(plugin: PluginSource, architecture: str, path: str) -> Registration:
    """Nothing is registered yet: at the end of the entry point's function."""
    from seatrial.adapter.port.cst_edits import AddToFunction

    for point in plugin.distribution.entry_points:
        module, _, function = (part.strip() for part in point.target.partition(":"))
        if point.group != GROUP or not plugin.package.has(module) or not function:
            continue
        file = plugin.package.path(module)
        source = _source(plugin, file)
        edit = AddToFunction(function, architecture, path)
        text = cst().parse_module(source).visit(edit).code
        if edit.done:
            return Registration(file, text, "entry point")
    raise UsageError(
        f"{plugin.label}: no entry point of {GROUP} leads to a function in it",
        mend="Declare one (see `seatrial scaffold plugin`); it is where models are registered.",
    )
