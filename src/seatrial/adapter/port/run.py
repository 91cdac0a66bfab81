"""One port: an upstream model file as a plugin's own, with its provenance and its registration.

In: a module of vLLM's models, the upstream source, the engine it shall run on, a plugin's root, a platform. Out: a
`Port`: files to write, edits, findings. Nothing is written. Refused (UsageError): a module that is not there; a fork
where vLLM's own class would do, without `fork`; a file of that name that is no port, or a port of something else.
"""

from __future__ import annotations

import ast
from functools import cached_property
from pathlib import Path

from seatrial.adapter.port.cst import cst
from seatrial.adapter.port.ground import MODELS, Ground
from seatrial.adapter.port.header import Provenance, digest, find, put, without_reason
from seatrial.adapter.port.register import PluginSource, register_all
from seatrial.adapter.port.strategy import Strategy, decide
from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.support.modules import Module, Package
from seatrial.support.registry_engine import engine_version
from seatrial.support.registry_read import read_registry
from seatrial.support.registry_records import RegistryTable
from seatrial.support.source import open_source

SCHEMA_VERSION = 1


class Edited(Record):
    """One edit of the file, as `rewrite` made it or could not; the same fields as its `Edit`."""

    kind: str
    line: int
    old: str
    new: str = ""
    reason: str = ""


class Port(Record):
    """`files` maps a path below the plugin's root to its new text; `registered` an architecture to `module:Class`."""

    schema_version: int
    module: str
    target: str
    provenance: Provenance
    strategy: Strategy
    files: dict[str, str]
    edits: tuple[Edited, ...]
    registered: dict[str, str]
    findings: tuple[Finding, ...]


class Upstream:
    """A vLLM source that files are copied from."""

    def __init__(self, source: Path) -> None:
        self.source = source
        trees = open_source(source)
        self.package = Package("vllm", trees)
        self.version = engine_version(trees)
        if not self.package:
            raise UsageError(f"{source}: no package vllm in it", mend="Name a vLLM tree, sdist, wheel or environment.")

    @cached_property
    def registry(self) -> RegistryTable:
        """What this vLLM registers, read once."""
        return read_registry(self.source)

    def module(self, name: str) -> Module:
        """By `qwen3`, `vllm:qwen3` or the whole dotted name; raises UsageError with the nearest names."""
        short = name.removeprefix("vllm:")
        dotted = short if short.startswith("vllm.") else f"{MODELS}.{short}"
        found = self.package.get(dotted)
        if found is None or found.source is None or found.tree is None:
            import difflib

            known = [n[len(MODELS) + 1 :] for n in self.package.names() if n.startswith(f"{MODELS}.")]
            near = ", ".join(difflib.get_close_matches(short, known, 3)) or "no name is near it"
            what = found.error if found is not None and found.error else "is not there"
            raise UsageError(f"{dotted} {what} in {self.source}", mend=f"Near: {near}.")
        return found


def port(
    name: str,
    *,
    upstream: Path,
    engine: Path,
    root: Path,
    platform: str,
    architectures: tuple[str, ...] = (),
    fork: bool = False,
    because: str = "",
    ground: Ground | None = None,
    plugin: PluginSource | None = None,
    source: Upstream | None = None,
) -> Port:
    """`ground`, `plugin` and `source` (the upstream, opened) may be handed in by a caller that ports many files; the
    edits of a plugin then add up in `plugin.texts`."""
    libcst = cst()
    from seatrial.adapter.port.rewrite import rewrite

    source = source or Upstream(upstream)
    module = source.module(name)
    plugin = plugin or PluginSource(root)
    ground = ground or Ground(engine, root, platform)
    data = module.source or b""
    classes = _classes(source, module, architectures)
    target = f"{plugin.models_package()}.{module.name.removeprefix(f'{MODELS}.').replace('.', '_')}"
    table = source.registry if engine == upstream else read_registry(engine)
    strategy = decide(classes, table, plugin, target, fork=fork, because=because)
    try:
        made = rewrite(data.decode("utf-8"), module.name, module.is_package, ground)
    except (libcst.ParserSyntaxError, UnicodeDecodeError) as exc:
        first = str(exc).splitlines()[0]
        raise UsageError(f"{module.path} cannot be parsed by LibCST: {first}", mend="Upgrade libcst.") from exc
    path = plugin.path_of(target)
    provenance = Provenance(
        version=source.version,
        path=module.path,
        sha256=digest(data),
        platform=platform,
        reason=strategy.reason if because else _recorded(root / path, path) or strategy.reason,
    )
    text = put(made.source, provenance)
    ast.parse(text)
    _refuse_other(root / path, path, provenance, text)
    files = {path: text}
    ours = {a: c for a, c in classes.items() if _free(plugin, a, f"{target}:{c}")}
    for registration in register_all(plugin, ours, target):
        if registration.text is not None:
            files[registration.path] = registration.text
    edits = tuple(Edited(kind=e.kind, line=e.line, old=e.old, new=e.new, reason=e.reason) for e in made.edits)
    return Port(
        schema_version=SCHEMA_VERSION,
        module=module.name,
        target=target,
        provenance=provenance,
        strategy=strategy,
        files=files,
        edits=edits,
        registered={a: f"{target}:{c}" for a, c in ours.items()},
        findings=(*_findings(path, edits), *_held(plugin, classes, ours, target)),
    )


def _classes(source: Upstream, module: Module, wanted: tuple[str, ...]) -> dict[str, str]:
    """Architectures that the upstream registry serves from this module, to their class."""
    entries = source.registry.supported().values()
    found = {e.architecture: e.class_name for e in entries if e.module == module.name}
    if wanted:
        missing = [a for a in wanted if a not in found]
        if missing:
            known = ", ".join(sorted(found)) or "none"
            raise UsageError(f"{module.name} does not serve {', '.join(missing)}", mend=f"It serves: {known}.")
        return {a: found[a] for a in wanted}
    return found


def _free(plugin: PluginSource, architecture: str, path: str) -> bool:
    known = plugin.registered.get(architecture)
    return known is None or known.class_path == path


def _held(plugin: PluginSource, classes: dict[str, str], ours: dict[str, str], target: str) -> list[Finding]:
    out = []
    for name in classes:
        if name not in ours:
            known = plugin.registered[name]
            out.append(
                Finding(
                    code="F009",
                    severity=Severity.WARNING,
                    place=known.place,
                    message=f"{name} stays registered as {known.class_path}; the new file is not used for it",
                    next_step=f"Change that registration to {target}:{classes[name]} to use it.",
                )
            )
    return out


def _recorded(place: Path, path: str) -> str:
    """The reason in the header of a port that is there; "" for none."""
    if not place.is_file():
        return ""
    old = find(place.read_text(encoding="utf-8", errors="replace"), path)
    return old.reason if old is not None else ""


def _refuse_other(place: Path, path: str, provenance: Provenance, text: str) -> None:
    """A file that is there must be this very port."""
    if not place.is_file():
        return
    there = place.read_text(encoding="utf-8", errors="replace")
    old = find(there, path)
    if old is None:
        raise UsageError(f"{path} is there and is no port of seatrial's", mend="Move it, or merge by --upgrade --base.")
    if old.path != provenance.path:
        raise UsageError(f"{path} is a port of {old.path}", mend="Move it first.")
    same = (old.version, old.sha256) == (provenance.version, provenance.sha256)
    if not same or without_reason(there) != without_reason(text):
        why = "has been edited since" if same else f"is a port of vLLM {old.version}"
        raise UsageError(f"{path} {why}", mend="`seatrial port --upgrade` keeps the edits.")


def _findings(path: str, edits: tuple[Edited, ...]) -> list[Finding]:
    out = []
    for edit in edits:
        if edit.kind == "not found":
            out.append(
                Finding(
                    code="F006",
                    severity=Severity.ERROR,
                    place=f"{path}: upstream line {edit.line}",
                    message=f"{edit.old}: {edit.reason}",
                    next_step="Choose the right one by hand; the import as it is fails.",
                )
            )
        elif edit.kind == "not swapped":
            out.append(
                Finding(
                    code="F007",
                    severity=Severity.INFO,
                    place=f"{path}: upstream line {edit.line}",
                    message=f"{edit.old} stays as it is: {edit.reason}",
                )
            )
    return out
