"""Which of vLLM's custom ops a model holds, and who runs each on a platform: from the dry run's list and the sources.

In: class names with counts (the dry run's), the engine's sources, a plugin's (or none). Out: `Line`s. A class of the
plugin's own, or one that its table puts in vLLM's place, is the platform's; otherwise vLLM's dispatch decides: the
method for the platform, else `forward_native`, which is plain torch. A class that has neither is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from seatrial.adapter.port.register import PluginSource
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.support.compat.classes import Classes, members
from seatrial.support.compat.names import Names
from seatrial.support.modules import Package
from seatrial.support.registry_plugin import read_plugin
from seatrial.support.source import open_source

State = Literal["platform", "engine", "native", "missing", "unknown"]
# vLLM's CustomOp.dispatch_forward; a platform from outside goes to forward_oot, which by itself calls forward_native.
METHODS = {"cpu": ("forward_cpu",), "cuda": ("forward_cuda",), "ascend": ("forward_oot",), "kunlun": ("forward_oot",)}


class Line(Record):
    """One op: `count` modules of the model. `by` is the class or method that runs it, with its place."""

    op: str
    count: int
    state: State
    by: str


class Coverage(Record):
    """Lines by op; `outcome` fails if an op is missing, and is inconclusive if one is unknown.

    `not_read` maps symlinks of the sources that were not followed to the reason.
    """

    lines: tuple[Line, ...]
    outcome: Outcome
    not_read: dict[str, str]


def coverage(ops: Mapping[str, int], engine: Path, platform: str, plugin: Path | None = None) -> Coverage:
    """`ops` maps a class's dotted name to the number of modules."""
    vllm = Package("vllm", open_source(engine))
    names = Names(vllm)
    source = PluginSource(plugin) if plugin is not None else None
    own = Names(source.package) if source is not None else names
    classes = Classes(names, own)
    table: dict[str, str] = {}
    if source is not None:
        read = read_plugin(source.package, source.distribution.name, source.distribution.plugins())
        # One op may have several classes, of which the plugin takes one by the device it finds.
        for op in read.ops:
            known = table.get(op.op)
            table[op.op] = f"{known} or {op.class_name}" if known else f"{op.class_name} ({op.place})"
    lines = tuple(_line(op, count, platform, classes, table) for op, count in sorted(ops.items()))
    not_read = vllm.not_followed() | (source.package.not_followed() if source is not None else {})
    missing = [line.op for line in lines if line.state == "missing"]
    unknown = [line.op for line in lines if line.state == "unknown"]
    if missing:
        outcome = failed(f"nothing runs {', '.join(missing)} on {platform}")
        return Coverage(lines=lines, outcome=outcome, not_read=not_read)
    if unknown or not lines:
        why = f"not to be read: {', '.join(unknown)}" if unknown else "the dry run saw no custom op"
        return Coverage(lines=lines, outcome=inconclusive(why), not_read=not_read)
    return Coverage(lines=lines, outcome=passed(), not_read=not_read)


def _line(dotted: str, count: int, platform: str, classes: Classes, table: Mapping[str, str]) -> Line:
    module, _, name = dotted.rpartition(".")
    if module.split(".")[0] != "vllm":
        return Line(op=dotted, count=count, state="platform", by=dotted)
    # vLLM looks for the class's own name only: a replaced ancestor replaces nothing.
    if name in table:
        return Line(op=dotted, count=count, state="platform", by=table[name])
    ref = classes.find(module, name)
    if ref is None:
        return Line(op=dotted, count=count, state="unknown", by="its source was not found")
    found: dict[str, str] = {}
    ancestry = classes.ancestry(ref)
    for item in ancestry.classes:
        for method in members(item.node):
            if item.node.name != "CustomOp":
                found.setdefault(method, item.path)
    for method in METHODS.get(platform, ()):
        if method in found:
            return Line(op=dotted, count=count, state="engine", by=f"{found[method]}.{method}")
    if "forward_native" in found:
        return Line(
            op=dotted, count=count, state="native", by=f"{found['forward_native']}.forward_native (plain torch)"
        )
    if "forward" in found:
        return Line(op=dotted, count=count, state="native", by=f"{found['forward']}.forward")
    if not ancestry.complete:
        return Line(op=dotted, count=count, state="unknown", by="a base of it was not found")
    return Line(op=dotted, count=count, state="missing", by=f"no forward_native, no {METHODS.get(platform, ('?',))[0]}")
