"""The whole registry of an engine and its plugins, from their sources: read, then laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.support.modules import Package
from seatrial.support.registry_engine import engine_version, read_engine_registry
from seatrial.support.registry_plugin import PluginRegistrations, read_plugin
from seatrial.support.registry_records import Registered, RegistryTable
from seatrial.support.source import Distribution, Trees, open_source
from seatrial.support.source.distributions import distributions

SCHEMA_VERSION = 1


class Difference(Record):
    """What changes from one registry to another. `changed` pairs have another class, owner or state."""

    added: tuple[Registered, ...]
    removed: tuple[Registered, ...]
    changed: tuple[tuple[Registered, Registered], ...]


def read_registry(engine: Path, plugins: Sequence[Path] = ()) -> RegistryTable:
    """The registry of the vLLM at `engine`, with the plugins installed beside it and those at `plugins` on top.

    Raises SeatrialError subclasses for sources that cannot be read, or that hold no vLLM.
    """
    trees = open_source(engine)
    entries, findings = read_engine_registry(trees)
    read = [_read_beside(trees, d) for d in distributions(trees) if d.installed and d.plugins() and _is_plugin(d)]
    for path in plugins:
        plugin_trees = open_source(path)
        read.append(_read(plugin_trees, plugin_distribution(plugin_trees)))
    table = {e.architecture: e for e in entries}
    for plugin in read:
        findings += plugin.findings
        for entry in plugin.models:
            findings += _lay_over(table, entry)
    return RegistryTable(
        schema_version=SCHEMA_VERSION,
        source=trees.label,
        engine_version=engine_version(trees),
        architectures=tuple(sorted(table.values(), key=lambda e: e.architecture)),
        ops=tuple(op for plugin in read for op in plugin.ops),
        hooks=tuple(hook for plugin in read for hook in plugin.hooks),
        findings=tuple(findings),
    )


def plugin_distribution(trees: Trees) -> Distribution:
    """The distribution of a plugin's source.

    Raises UsageError if nothing in it names a plugin of vLLM, or if several do and none of them was named itself.
    """
    found = distributions(trees)
    plugins = [d for d in found if d.plugins() and _is_plugin(d)]
    if trees.package:
        plugins = [d for d in plugins if _top(d) == trees.package]
    if len(plugins) == 1:
        return plugins[0]
    if plugins:
        tops = ", ".join(f"{d.name} ({_top(d)})" for d in plugins)
        raise UsageError(
            f"{trees.label}: several plugins in it: {tops}", mend="Name one of these packages by its own folder."
        )
    names = ", ".join(d.name for d in found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else "")
    of = f" of the package {trees.package}" if trees.package else ""
    raise UsageError(
        f"{trees.label}: no entry points of vLLM's plugin groups{of} in it ({names or 'no distribution'} found)",
        mend="Name the plugin's wheel, sdist or source folder; a plugin declares vllm.general_plugins or the like, "
        "and where setup.py makes them at run time, only the wheel says so.",
    )


def _top(distribution: Distribution) -> str:
    """The package of the distribution's own that its entry points name."""
    tops = [p.target.partition(":")[0].split(".")[0].strip() for p in distribution.plugins()]
    return next((top for top in tops if top != "vllm"), "")


def _is_plugin(distribution: Distribution) -> bool:
    """vLLM declares entry points of its own groups too; those are no plugin."""
    return any(p.target.split(".")[0].split(":")[0] != "vllm" for p in distribution.plugins())


def plugin_package(trees: Trees, distribution: Distribution) -> Package:
    """The package that the plugin's entry points name."""
    top = _top(distribution)
    package = Package(top, trees)
    if not package:
        raise UsageError(f"{trees.label}: its entry points name the package {top!r}, which is not in it")
    return package


def _read_beside(trees: Trees, distribution: Distribution) -> PluginRegistrations:
    """A plugin installed beside the engine; one whose code is not found there is a finding, not an end."""
    try:
        return _read(trees, distribution)
    except UsageError as exc:
        out = PluginRegistrations(distribution.name)
        out.findings.append(
            Finding(
                code="R007",
                severity=Severity.WARNING,
                place=distribution.place,
                message=f"the plugin's code was not found, so its registrations are unknown: {exc.message}",
                next_step="Name its source by --plugin.",
            )
        )
        return out


def _read(trees: Trees, distribution: Distribution) -> PluginRegistrations:
    return read_plugin(plugin_package(trees, distribution), distribution.name, distribution.plugins())


def _lay_over(table: dict[str, Registered], entry: Registered) -> list[Finding]:
    """Put a plugin's entry over what is there; INFO when it overwrites a class."""
    before = table.get(entry.architecture)
    if before is None or before.state != "registered":
        table[entry.architecture] = entry
        return []
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}  # type: ignore[attr-defined]
    table[entry.architecture] = Registered(**{**fields, "overwrites": before.class_path})
    if before.class_path == entry.class_path:
        return []
    return [
        Finding(
            code="R006",
            severity=Severity.INFO,
            place=entry.place,
            message=f"{entry.owner} overwrites {entry.architecture}, {before.class_path} of {before.owner}",
        )
    ]


def difference(old: RegistryTable, new: RegistryTable) -> Difference:
    """Architectures added, removed and changed from `old` to `new`. Leaving "registered" counts as a change."""
    before = {e.architecture: e for e in old.architectures}
    after = {e.architecture: e for e in new.architectures}
    return Difference(
        added=tuple(after[a] for a in sorted(after.keys() - before.keys())),
        removed=tuple(before[a] for a in sorted(before.keys() - after.keys())),
        changed=tuple(
            (before[a], after[a])
            for a in sorted(before.keys() & after.keys())
            if (before[a].class_path, before[a].owner, before[a].state)
            != (after[a].class_path, after[a].owner, after[a].state)
        ),
    )
