"""The registration of an architecture, added to a plugin in the plugin's own style.

In: the plugin's sources, an architecture, `module:Class`. Out: the file to change and its new text. Three styles are
known: a table (`{"Arch": "module:Class"}` or a list of pairs) that a loop registers, a row of `register_model` calls
(the last one's form is followed), and an entry point that registers nothing yet. Refused (UsageError): a plugin without
an entry point of `vllm.general_plugins`, and one whose registration has none of these forms.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from seatrial.adapter.port.cst import cst
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.support.modules import Package
from seatrial.support.registry_plugin import read_plugin
from seatrial.support.registry_read import plugin_distribution, plugin_package
from seatrial.support.registry_records import Registered
from seatrial.support.source import Distribution, open_source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GROUP = "vllm.general_plugins"


def _refuse_unparsed(project: Path) -> None:
    """A pyproject.toml that cannot be read would look like one without entry points."""
    if not project.is_file():
        return
    try:
        tomllib.loads(project.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise FileFormatError(f"{project} is not TOML: {exc}", mend="Mend that file first.") from exc


class Registration(NamedTuple):
    """`path` below the plugin's root; `text` is None where the plugin registers it so already."""

    path: str
    text: str | None
    style: str


class PluginSource:
    """A plugin's source folder, opened: its distribution, its package and what it registers.

    `texts` holds files that were changed since, by path below the source, so that several edits add up. Raises
    UsageError if the folder is no plugin's root.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir() or (root / "__init__.py").is_file():
            raise UsageError(
                f"{root} is not the root of a plugin's source",
                mend="Name the folder that holds its pyproject.toml or setup.py; `seatrial scaffold plugin` makes one.",
            )
        self.root = root
        self.texts: dict[str, str] = {}
        self.last = ""
        _refuse_unparsed(root / "pyproject.toml")
        trees = open_source(root)
        self.label = trees.label
        self.distribution: Distribution = plugin_distribution(trees)
        self.package: Package = plugin_package(trees, self.distribution)
        self._refuse_unreadable()
        self.registered: dict[str, Registered] = {
            m.architecture: m
            for m in read_plugin(self.package, self.distribution.name, self.distribution.plugins()).models
        }

    def _refuse_unreadable(self) -> None:
        """A file that registers models, or leads to one that does, must be readable: else what it says is unknown."""
        for name, text in self.package.texts():
            path = self.package.path(name)
            if b"register_model" in text or path.endswith("/__init__.py"):
                module = self.package.get(name)
                if module is not None and module.error:
                    raise FileFormatError(
                        f"{self.label}: {path} {module.error}",
                        mend="Mend that file first: what it registers cannot be read.",
                    )

    def below(self, path: str) -> str:
        """A path of the package as it is below the root: the package may lie under `src`."""
        top = self.package.path(self.package.name)
        return f"src/{path}" if not (self.root / top).is_file() and (self.root / "src" / top).is_file() else path

    def path_of(self, module: str) -> str:
        """Where a module of the plugin lies, or would, below the root."""
        top = self.package.path(self.package.name).rpartition("/")[0]
        return self.below(top + module[len(self.package.name) :].replace(".", "/") + ".py")

    def source(self, file: str) -> str:
        """The text of one of the package's files, changes included."""
        if file in self.texts:
            return self.texts[file]
        for name in self.package.names():
            if self.package.path(name) == file:
                module = self.package.get(name)
                if module is not None and module.source is not None:
                    return decoded(module.source, file)
        raise UsageError(f"{file} is not in {self.label}")

    def models_package(self) -> str:
        """The package that most of the registered model files lie in; `PACKAGE.models` where there are none."""
        counts: dict[str, int] = {}
        for entry in self.registered.values():
            parent = entry.module.rpartition(".")[0]
            if parent.startswith(self.package.name):
                counts[parent] = counts.get(parent, 0) + 1
        # The shortest of the commonest: a model that is a package of its own has a deeper one.
        return min(counts, key=lambda p: (-counts[p], len(p))) if counts else f"{self.package.name}.models"


def decoded(data: bytes, file: str) -> str:
    """The text of a source file; FileFormatError if it is not UTF-8, which is all that is written here."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise FileFormatError(
            f"{file} is not UTF-8: {exc.reason} at byte {exc.start}", mend="Save it as UTF-8; seatrial writes no other."
        ) from exc


def register_all(plugin: PluginSource, classes: Mapping[str, str], module: str) -> list[Registration]:
    """Several architectures (to their class's name) of one module, in this order; the last text of a file counts."""
    rows = list(classes.items())
    style = ""
    done: list[Registration] = []
    for name, class_name in rows[:1]:
        done.append(register(plugin, name, module, class_name))
        style = done[0].style
    # Each call is put directly below the same neighbour, so the order of the rest turns round.
    rest = reversed(rows[1:]) if style == "call" else rows[1:]
    if style == "call" and len(rows) > 1 and done[0].text is not None:
        plugin.texts.pop(plugin.last, None)
        done = []
        rest = reversed(rows)
    done += [register(plugin, name, module, class_name) for name, class_name in rest]
    return done


def register(plugin: PluginSource, architecture: str, module: str, class_name: str) -> Registration:
    """Where and how `architecture` is registered as `module:class_name`; the text is kept in `plugin.texts`."""
    made = _registration(plugin, architecture, f"{module}:{class_name}")
    if made.text is not None:
        plugin.texts[made.path] = made.text
        plugin.last = made.path
    return made._replace(path=plugin.below(made.path))


def _registration(plugin: PluginSource, architecture: str, path: str) -> Registration:
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


def _by_hand(plugin: PluginSource, architecture: str, path: str, why: str) -> UsageError:
    return UsageError(
        f"{plugin.label}: the registration cannot be added by program: {why}",
        mend=f'Add by hand: ModelRegistry.register_model("{architecture}", "{path}").',
    )


def _beside(plugin: PluginSource, file: str, line: int, architecture: str, path: str) -> Registration:
    """After the call at `line`, in its form; or in the table that it goes through."""
    libcst = cst()
    source = plugin.source(file)
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
        source = plugin.source(file)
        edit = AddToFunction(function, architecture, path)
        text = cst().parse_module(source).visit(edit).code
        if edit.done:
            return Registration(file, text, "entry point")
    raise UsageError(
        f"{plugin.label}: no entry point of {GROUP} leads to a function in it",
        mend="Declare one (see `seatrial scaffold plugin`); it is where models are registered.",
    )
