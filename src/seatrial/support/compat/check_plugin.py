"""What the plugin announces and puts in place: entry points, import-hook mappings, patches of the engine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.core.finding import Severity
from seatrial.support.compat.pair import Pair
from seatrial.support.compat.records import Hit
from seatrial.support.compat.walk import ATTRIBUTE_ERRORS, Site
from seatrial.support.registry_records import ImportHook
from seatrial.support.source import Distribution


def plain_hit(code: str, severity: Severity, place: str, module: str, symbol: str, message: str) -> Hit:
    """A hit that belongs to a declaration rather than to a statement; `place` is `file:line` or a file."""
    file, _, line = place.rpartition(":")
    return Hit(
        code=code,
        severity=severity,
        file=file if line.isdigit() else place,
        line=int(line) if line.isdigit() else 0,
        module=module,
        function="",
        symbol=symbol,
        message=message,
        when="use",
        guarded=False,
        reached=True,
    )


def check_entry_points(pair: Pair, distribution: Distribution) -> Iterator[Hit]:
    """K009: vLLM logs `Failed to load plugin` and goes on without it."""
    for point in distribution.plugins():
        module, _, attribute = point.target.partition(":")
        module, attribute = module.strip(), attribute.split("[")[0].strip()
        if module.split(".")[0] != pair.own:
            continue
        what = ""
        if not pair.plugin.has_module(module):
            what = f"the module {module} is not in the plugin"
        elif attribute and pair.plugin.resolve(module, attribute.split(".")[0]).status == "missing":
            what = f"{module} has no {attribute!r}"
        if what:
            message = f"entry point {point.group}: {point.name} = {point.target} names nothing: {what}"
            yield plain_hit("K009", Severity.ERROR, point.place, module, point.target, message)


def check_hooks(pair: Pair, hooks: list[ImportHook]) -> Iterator[Hit]:
    """K010: a mapping fires only on an absolute import of exactly that dotted name."""
    for hook in hooks:
        why = ""
        if not pair.plugin.package.has(hook.replacement):
            why = f"its replacement {hook.replacement} is not in the plugin"
        elif not _imported_absolutely(pair, hook.module):
            there = "" if pair.engine.package.has(hook.module) else ", which is not in this vLLM,"
            why = f"nothing imports {hook.module}{there} by that absolute name"
        if why:
            message = f"the mapping of {hook.module} can never fire: {why}"
            yield plain_hit("K010", Severity.WARNING, hook.place, "", hook.module, message)


def _imported_absolutely(pair: Pair, dotted: str) -> bool:
    pattern = re.compile(
        rb"^[ \t]*(?:from|import)[ \t]+" + re.escape(dotted.encode()) + rb"(?![\w])(?!\.)", re.MULTILINE
    )
    for side in (pair.engine.package, pair.plugin.package):
        if any(pattern.search(text) for _name, text in side.texts()):
            return True
    return False


class Patch:
    """An assignment to something of the engine."""

    def __init__(self, site: Site, module: str, owner: str, name: str, missing: bool) -> None:
        self.site, self.module, self.owner, self.name, self.missing = site, module, owner, name, missing


def find_patches(pair: Pair) -> list[Patch]:
    """Assignments to attributes of engine modules and classes, `setattr` with a literal name included."""
    found: list[Patch] = []
    for name, sites in pair.sites.items():
        for site in sites.assigned:
            node = site.node
            if isinstance(node, ast.Attribute):
                found += _patch(pair, name, site, node.value, node.attr)
        for site in sites.calls:
            call = site.node
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "setattr" and len(call.args) == 3:
                label = call.args[1]
                if isinstance(label, ast.Constant) and isinstance(label.value, str):
                    found += _patch(pair, name, site, call.args[0], label.value)
    return found


def _patch(pair: Pair, name: str, site: Site, target: ast.expr, attribute: str) -> list[Patch]:
    place = pair.place(target, site.context, name)
    if place is None or place.resolution.status != "found" or place.resolution.module.split(".")[0] != pair.top:
        return []
    found = place.resolution
    if not found.name:
        missing = pair.engine.resolve(found.module, attribute).status == "missing"
        return [Patch(site, name, found.module, attribute, missing)]
    if isinstance(found.node, ast.ClassDef):
        ref = pair.classes.find(found.module, found.name)
        if ref is not None:
            missing = pair.member(ref, attribute).status == "missing"
            return [Patch(site, name, ref.path, attribute, missing)]
    return []


def needs_original(pair: Pair, patches: list[Patch]) -> set[Patch]:
    """Patches of a name the engine lacks that first read it, as a wrapper does: they fail before they set anything."""
    found: set[Patch] = set()
    for patch in patches:
        if not patch.missing or patch.site.context.caught & ATTRIBUTE_ERRORS:
            continue
        for site in pair.sites[patch.module].attributes:
            node = site.node
            if (
                isinstance(node, ast.Attribute)
                and node.attr == patch.name
                and isinstance(node.ctx, ast.Load)
                and site.line < patch.site.line
                and not site.context.caught & ATTRIBUTE_ERRORS
                and site.context.function == patch.site.context.function
                and _owner(pair, patch.module, site) == patch.owner
            ):
                found.add(patch)
    return found


def _owner(pair: Pair, module: str, site: Site) -> str:
    """Dotted path of the engine module whose attribute is read at the site; empty if it is something else."""
    node = site.node
    place = pair.place(node.value, site.context, module) if isinstance(node, ast.Attribute) else None
    if place is None or place.resolution.status != "found":
        return ""
    found = place.resolution
    if isinstance(found.node, ast.ClassDef):
        ref = pair.classes.find(found.module, found.name)
        return ref.path if ref is not None else ""
    return "" if found.name else found.module


def check_patches(pair: Pair, patches: list[Patch]) -> Iterator[Hit]:
    """K011: it sets a name the engine does not have, and that neither source ever reads."""
    suspects = [p for p in patches if p.missing]
    if not suspects:
        return
    read = _words_read(pair, {p.name for p in suspects})
    for patch in suspects:
        if patch.name not in read:
            symbol = f"{patch.owner}.{patch.name}"
            message = f"the patch is inert: {patch.owner} has no {patch.name!r}, and nothing reads it"
            yield pair.hit("K011", patch.site, patch.module, symbol, message, frozenset(), Severity.WARNING)


def _words_read(pair: Pair, names: set[str]) -> set[str]:
    """Those of `names` that occur in the engine's text, or in the plugin's beyond their definition and the patch."""
    words = "|".join(sorted(re.escape(n) for n in names)).encode()
    anywhere = re.compile(rb"\b(" + words + rb")\b")
    patching = re.compile(rb"\.(" + words + rb")\s*=\s*\(?\s*\w*|(?:def|class)\s+(?:" + words + rb")\b")
    found: set[str] = set()
    for _name, text in pair.engine.package.texts():
        found.update(m.decode() for m in anywhere.findall(text))
    for _name, text in pair.plugin.package.texts():
        found.update(m.decode() for m in anywhere.findall(patching.sub(b"", text)))
    return found
