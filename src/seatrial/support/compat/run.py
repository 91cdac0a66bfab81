"""The compatibility meter: one plugin against one vLLM, both read as text.

In: two sources. Out: a `CompatReport`. Refuses (SeatrialError): sources that cannot be opened, an engine source
without vLLM, a plugin without entry points.

Opening, the order of the checks and what follows from their hits belong together, hence the length.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

from seatrial.core.collector import without_collector
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Severity
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.support.compat.check_calls import check_calls
from seatrial.support.compat.check_classes import check_classes
from seatrial.support.compat.check_imports import check_attributes, check_imports, check_raises
from seatrial.support.compat.check_plugin import (
    Patch,
    check_entry_points,
    check_hooks,
    check_patches,
    find_patches,
    needs_original,
    plain_hit,
)
from seatrial.support.compat.graph import Graph, broken_modules, functions_called
from seatrial.support.compat.pair import Pair
from seatrial.support.compat.records import ArchitectureImpact, CompatReport, Counts, Hit
from seatrial.support.compat.relocate import Relocations
from seatrial.support.compat.truth import Swayed, parse_version
from seatrial.support.modules import Package
from seatrial.support.registry_engine import engine_version
from seatrial.support.registry_plugin import UNREAD, PluginRegistrations, read_plugin
from seatrial.support.registry_read import plugin_distribution, plugin_package
from seatrial.support.registry_records import Registered
from seatrial.support.source import Distribution, Trees, open_source

SCHEMA_VERSION = 1
BUILD_FILES = ("setup.py", "CMakeLists.txt", "pyproject.toml")


def compat(engine: Path, plugin: Path, *, version: str = "") -> CompatReport:
    """Measure. `version` overrides the engine's version, which decides the plugin's version tests."""
    if version and parse_version(version) is None:
        raise UsageError(f"--engine-version {version!r} is no version", mend="Write one like 0.11.0.")
    try:
        with without_collector():
            return _compat(engine, plugin, version)
    except RecursionError as exc:
        raise FileFormatError(
            f"{plugin} or {engine}: a source file in it is nested deeper than can be read",
            mend="No code written by hand is; leave generated files out of the source.",
        ) from exc


class Opened(NamedTuple):
    """Both sources, opened and walked."""

    pair: Pair
    own: Package
    distribution: Distribution
    registrations: PluginRegistrations
    patches: list[Patch]
    version: str


def open_pair(engine: Path, plugin: Path, version: str = "") -> Opened:
    """Open and walk both sources. Raises SeatrialError subclasses as `compat` does."""
    engine_trees = open_source(engine)
    package = Package("vllm", engine_trees)
    if not package or package.get("vllm") is None:
        raise FileFormatError(
            f"{engine}: no package vllm in it", mend="Name a vLLM source tree, sdist, wheel or environment."
        )
    trees = open_source(plugin)
    distribution = plugin_distribution(trees)
    own = plugin_package(trees, distribution)
    said = version or engine_version(engine_trees)
    registrations = read_plugin(own, distribution.name, distribution.plugins())
    pair = Pair(package, said, own, _built(trees, own))
    pair.replaced = {h.module: h.replacement for h in registrations.hooks if own.has(h.replacement)}
    pair.read()
    patches = find_patches(pair)
    wanted = needs_original(pair, patches)
    # A patch that no entry point leads to is never made.
    reached = Graph(pair).reached(distribution, registrations.models)
    made = {(p.owner, p.name) for p in patches if p not in wanted and p.module in reached}
    pair.provided = made | _replaced_names(pair)
    pair.read_again()
    return Opened(pair, own, distribution, registrations, patches, said)


def _compat(engine: Path, plugin: Path, version: str) -> CompatReport:
    opened = open_pair(engine, plugin, version)
    pair, own, distribution, registrations, patches, said = opened
    package = pair.engine.package
    hits = [
        *_unparsed(own),
        *check_imports(pair),
        *check_attributes(pair),
        *check_raises(pair),
        *check_calls(pair),
        *check_classes(pair),
        *check_entry_points(pair, distribution),
        *check_hooks(pair, registrations.hooks),
        *check_patches(pair, patches),
    ]
    graph = Graph(pair)
    reached = graph.reached(distribution, registrations.models)
    hits = [h if not h.module or h.module in reached else h.but(reached=False) for h in hits]
    hits = _relocated(package, own, _once(hits))
    labelled = [s for s in pair.truth.swayed.values() if s.module in reached]
    hits += [_labelled(pair, said, s) for s in labelled]
    impacts, hits = _impacts(pair, graph, distribution, registrations, hits)
    modules = len(pair.sites)
    return CompatReport(
        schema_version=SCHEMA_VERSION,
        engine=str(engine),
        engine_version=said,
        plugin=str(plugin),
        plugin_name=distribution.name,
        plugin_version=distribution.version,
        outcome=_outcome(hits, said, _compiled(own, distribution)),
        hits=tuple(sorted(hits, key=lambda h: (not h.breaks, h.file, h.line, h.code, h.symbol))),
        architectures=impacts,
        registrations_unread=tuple(f"{f.place}: {f.message}" for f in registrations.findings if f.code in UNREAD),
        counts=Counts(
            modules=modules,
            modules_reached=len(reached & set(pair.sites)),
            names_checked=pair.names_checked,
            names_undecided=pair.names_undecided,
            calls_checked=pair.calls_checked,
            calls_undecided=pair.calls_undecided,
            overrides_checked=pair.overrides_checked,
        ),
    )


def _labelled(pair: Pair, version: str, swayed: Swayed) -> Hit:
    """K015."""
    release = version.partition("+")[0]
    what = f"vLLM says {version}, so {swayed.test} is not what it is for {release}"
    mend = f": set VLLM_VERSION={release} where it runs" if swayed.overridable else ""
    path = pair.plugin.package.path(swayed.module)
    hit = plain_hit("K015", Severity.WARNING, path, swayed.module, "vllm.__version__", f"{what}{mend}")
    return hit.but(line=swayed.line, when="import")


def _built(trees: Trees, own: Package) -> set[str]:
    """Modules of the plugin that its build makes: files and extensions its build scripts name, without a source."""
    text = "\n".join((trees.read(name) or b"").decode("utf-8", errors="replace") for name in BUILD_FILES)
    words = set(re.findall(r"(\w+)\.py\b", text)) | set(re.findall(r"\b(\w+_C)\b", text))
    words |= {dotted.rpartition(".")[2] for dotted in re.findall(rf"\b{re.escape(own.name)}\.([\w.]+)", text)}
    return {f"{own.name}.{word}" for word in words if not own.has(f"{own.name}.{word}")}


def _replaced_names(pair: Pair) -> set[tuple[str, str]]:
    """Names set on an object that is then put into `sys.modules` under an engine module's name."""
    found: set[tuple[str, str]] = set()
    for name in pair.sites:
        module = pair.module(name)
        swapped: dict[str, str] = {}
        for node in module.tree.body if module.tree is not None else ():
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                target = node.targets[0]
                if ast.unparse(target.value) == "sys.modules" and isinstance(target.slice, ast.Constant):
                    swapped[ast.unparse(node.value)] = str(target.slice.value)
        for node in module.tree.body if swapped and module.tree is not None else ():
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                owner = ast.unparse(node.targets[0].value)
                if owner in swapped:
                    found.add((swapped[owner], node.targets[0].attr))
    return found


def _unparsed(own: Package) -> list[Hit]:
    """K012. A file that is not read at all is a warning: nothing need be wrong with it, and nothing is known of it."""
    hits = []
    for name in own.names():
        module = own.get(name)
        if module is not None and module.error:
            severity = Severity.ERROR if module.source is not None else Severity.WARNING
            hits.append(plain_hit("K012", severity, module.path, name, name, module.error).but(when="import"))
    for name, why in own.elsewhere().items():
        path = name.replace(".", "/")
        hits.append(plain_hit("K012", Severity.WARNING, path, "", name, f"is not read: {why}").but(when="import"))
    return hits


def _once(hits: list[Hit]) -> list[Hit]:
    seen: dict[tuple[str, int, str, str], Hit] = {}
    for hit in hits:
        seen.setdefault((hit.file, hit.line, hit.code, hit.symbol), hit)
    return list(seen.values())


def _relocated(engine: Package, own: Package, hits: list[Hit]) -> list[Hit]:
    """The hits with where the thing is now: vLLM's in vLLM, the plugin's own in the plugin."""
    indexes: dict[str, tuple[tuple[str, ...], Relocations]] = {}
    for package, codes in ((engine, ("K001", "K002", "K003")), (own, ("K013",))):
        missed = [h for h in hits if h.code in codes and h.symbol.split(".")[0] == package.name]
        last = [h.symbol.rpartition(".")[2] for h in missed]
        indexes[package.name] = (codes, Relocations(package, last, last))
    out = []
    for hit in hits:
        asked = indexes.get(hit.symbol.split(".")[0])
        moved: tuple[str, ...] = ()
        if asked is not None and hit.code in asked[0]:
            index = asked[1]
            is_module = hit.code == "K001" or (hit.code == "K013" and " has no module " in hit.message)
            moved = index.of_module(hit.symbol) if is_module else index.of_name(*_split(hit.symbol))
        out.append(hit.but(moved_to=moved) if moved else hit)
    return out


def _split(symbol: str) -> tuple[str, str]:
    module, _, name = symbol.rpartition(".")
    return module, name


def _impacts(
    pair: Pair,
    graph: Graph,
    distribution: Distribution,
    registrations: PluginRegistrations,
    hits: list[Hit],
) -> tuple[tuple[ArchitectureImpact, ...], list[Hit]]:
    """Per registered architecture whether its class can be imported; and the hits with the architectures they break."""
    broken = broken_modules(hits)
    breaks: dict[tuple[str, int, str], set[str]] = {}
    impacts = []
    for entry in {e.architecture: e for e in registrations.models if _can_run(pair, e)}.values():
        needed = graph.closure(entry.module) | _registration_modules(pair, graph, distribution, entry)
        bad = needed & broken
        loaded = graph.closure(entry.module)
        own_hits = [h for h in hits if h.breaks and (h.module in bad if h.when == "import" else h.module in loaded)]
        for hit in own_hits:
            breaks.setdefault((hit.file, hit.line, hit.symbol), set()).add(entry.architecture)
        module_missing = not pair.has_module(entry.module)
        name_missing = not module_missing and pair.lookup(entry.module, entry.class_name).status == "missing"
        because = [f"{h.file}:{h.line} {h.message}" for h in own_hits if h.when == "import"]
        if module_missing or name_missing:
            because.append(f"{entry.place} registers {entry.class_path}, which is not there")
        impacts.append(
            ArchitectureImpact(
                architecture=entry.architecture,
                class_path=entry.class_path,
                importable=not because,
                because=tuple(because),
            )
        )
    marked = [
        h.but(architectures=tuple(sorted(breaks[h.file, h.line, h.symbol])))
        if (h.file, h.line, h.symbol) in breaks
        else h
        for h in hits
    ]
    return tuple(sorted(impacts, key=lambda i: i.architecture)), marked


def _can_run(pair: Pair, entry: Registered) -> bool:
    """Whether no test on the way to the registration is false on this engine."""
    if not entry.condition:
        return True
    file = entry.place.rpartition(":")[0]
    at = next((name for name in pair.sites if pair.plugin.package.path(name) == file), "")
    test = ast.parse(entry.condition, mode="eval").body
    return not at or pair.truth.of(test, pair.module(at)) is not False


def _registration_modules(pair: Pair, graph: Graph, distribution: Distribution, entry: Registered) -> set[str]:
    """Modules that are imported on the way from the entry point to the registration: if one fails, so does it."""
    file, _, line = entry.place.rpartition(":")
    found: set[str] = set()
    for point in distribution.plugins():
        module, _, attribute = point.target.partition(":")
        called = functions_called(pair, module.strip(), attribute.strip())
        if not any(pair.plugin.package.path(m) == file and _holds(pair, m, f, int(line)) for m, f in called):
            continue
        found |= graph.closure(module.strip())
        for name, function in called:
            for site in pair.sites[name].imports:
                if site.context.function == function and not site.context.caught:
                    for target in graph._targets(name, site):
                        found |= graph.closure(target)
    return found


def _holds(pair: Pair, module: str, function: str, line: int) -> bool:
    """Whether the function's body has the line."""
    names = pair.plugin.of(module)
    for binding in names.bound.get(function, []) if names is not None else ():
        node = binding.node
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or node.lineno):
            return True
    return False


def _compiled(own: Package, distribution: Distribution) -> list[str]:
    """Entry points' modules that are compiled code: what they lead to is not in the text."""
    targets = {p.target.partition(":")[0].strip() for p in distribution.plugins()}
    modules = [own.get(target) for target in sorted(targets)]
    return [m.path for m in modules if m is not None and m.native]


def _outcome(hits: list[Hit], version: str, compiled: list[str]) -> Outcome:
    breaking = [h for h in hits if h.breaks]
    if breaking:
        modules = len({h.module for h in breaking})
        return failed(f"{len(breaking)} places in {modules} modules of the plugin do not fit this vLLM")
    if compiled:
        return inconclusive(f"an entry point leads into compiled code, which has no text: {', '.join(compiled)}")
    unread = [h.file for h in hits if h.code == "K012" and h.severity is Severity.WARNING and h.reached]
    if unread:
        return inconclusive(f"{len(unread)} files of the plugin are not read: {', '.join(unread[:4])}")
    if parse_version(version) is None:
        what = f"the engine's version {version!r} is none" if version else "the engine's version is not in its source"
        return inconclusive(f"{what}, so the plugin's version tests are undecided: --engine-version says it")
    labelled = [h for h in hits if h.code == "K015"]
    if labelled:
        where = f"{labelled[0].file}:{labelled[0].line} {labelled[0].message}"
        return inconclusive(
            f"{len(labelled)} version tests see the label of this build (first: {where}); "
            f"--engine-version {version.partition('+')[0]} judges the release"
        )
    return passed()
