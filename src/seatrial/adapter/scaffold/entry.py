"""What the plugin's entry point is given: the registration of each architecture, a config class, the draft's hook.

F004 says that transformers was not among the sources; F005 names what must be entered by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatrial.adapter.port.cst import cst
from seatrial.adapter.port.register import PluginSource, register
from seatrial.adapter.scaffold.config_class import ConfigBase, knows_model_type
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.site import Site, note
from seatrial.adapter.scaffold.undecided import class_prefix, module_name
from seatrial.core.finding import Finding, Severity

if TYPE_CHECKING:
    from seatrial.adapter.port.register_config import AddCall, AddConfig


def enter(site: Site, base: ConfigBase | None) -> list[Finding]:
    """Register the site's classes, its model type, and its calls. `base`: the relative's config, for an overlay."""
    plugin = site.plugin
    for name, where in {site.arch: site.module, **site.classes}.items():
        done = register(plugin, name, where, name)
        if done.text is not None:
            site.files[done.path] = done.text
    findings = []
    model_type = str(site.config.get("model_type") or "")
    known = knows_model_type(site.trees, model_type)
    if known is None:
        message = f"whether transformers knows model_type {model_type!r} was not seen: it is not in the sources named"
        findings.append(note("F004", "config.json", message))
    cst()
    from seatrial.adapter.port.register_config import AddCall, AddConfig

    if known is False:
        name = f"configuration_{module_name(site.arch)}"
        parent = site.module.rpartition(".")[0]
        class_name = f"{class_prefix(site.arch)}Config"
        site.files[plugin.path_of(f"{parent}.{name}")] = render(
            "configuration.py.jinja", model_type=model_type, p=class_prefix(site.arch), base=base
        )
        call = f"AutoConfig.register({model_type!r}, {class_name}, exist_ok=True)"
        edit = AddConfig(_entry(plugin)[1], model_type, f"{parent}.{name}", class_name)
        findings += _entered(site, edit, call)
    for module, function in site.calls:
        added = AddCall(_entry(plugin)[1], module, function)
        findings += _entered(site, added, f"{module}.{function}()")
    return findings


def _entry(plugin: PluginSource) -> tuple[str, str]:
    """Module and function of the plugin's entry point."""
    point = next(p for p in plugin.distribution.entry_points if p.group == "vllm.general_plugins")
    where, _, function = (part.strip() for part in point.target.partition(":"))
    return where, function


def _entered(site: Site, edit: AddConfig | AddCall, call: str) -> list[Finding]:
    """The edit of the entry point's function; F005 where it has none of the known forms."""
    plugin = site.plugin
    where, function = _entry(plugin)
    file = plugin.package.path(where)
    entry = plugin.below(file)
    site.files[entry] = plugin.texts[file] = cst().parse_module(plugin.source(file)).visit(edit).code
    if edit.done:
        return []
    return [note("F005", entry, f"add by hand to {where}:{function}: {call}", Severity.WARNING)]
