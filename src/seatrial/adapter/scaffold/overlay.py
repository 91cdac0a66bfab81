"""A model as a subclass of its nearest relative, with an explicit weight mapping.

In: the checkpoint, the plan, the registry, the engine's sources. Out: `Overlay`. The mapping names every kind of the
checkpoint's tensors; each starts as its own name, and the dry run says which the relative does not load. What the
relative's own file never names is open. A multimodal class gets the relative's processor, found at its decorator.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from seatrial import __version__
from seatrial.adapter.scaffold.choose import Plan
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.roles import NUMBER
from seatrial.adapter.scaffold.undecided import Open
from seatrial.checkpoint import Checkpoint
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.support.modules import Package
from seatrial.support.registry_records import RegistryTable

PROCESSOR = "MULTIMODAL_REGISTRY.register_processor"


class Overlay(Record):
    """The file's text and what is open in it."""

    text: str
    open: tuple[Open, ...]


def overlay(arch: str, whole: Checkpoint, plan: Plan, table: RegistryTable, engine: Package) -> Overlay:
    """Raises UsageError if the relative is none of this vLLM's, or its source cannot be read."""
    relative = plan.relative
    entry = table.supported().get(relative.architecture) if relative is not None else None
    module = engine.get(entry.module) if entry is not None else None
    if relative is None or entry is None or module is None or module.tree is None:
        name = relative.architecture if relative is not None else ""
        raise UsageError(f"vLLM {table.engine_version} has no {name!r}", mend="See `seatrial registry list`.")
    if entry.class_name == arch:
        raise UsageError(f"{arch} is the relative itself", mend="Name another one by --base.")
    kinds = sorted({NUMBER.sub("*", t.name) for t in whole.tensors})
    questions = tuple(_unnamed(kinds, relative.words, relative.because))
    decorator = _processor(module.tree, entry.class_name, entry.module)
    text = render(
        "overlay.py.jinja",
        arch=arch,
        relative=relative.architecture,
        relative_class=entry.class_name,
        module=entry.module,
        because=[plan.because, *relative.because.split("; ")],
        kinds=kinds,
        open=questions,
        processors=decorator,
        seatrial=__version__,
        checkpoint=Path(whole.card.folder).name,
        tensors=len(whole.tensors),
        vllm=table.engine_version,
    )
    return Overlay(text=text, open=questions)


def _unnamed(kinds: list[str], words: float | None, because: str) -> list[Open]:
    """Kinds with a word in them that the relative's files do not have."""
    if words is None or words == 1.0:
        return []
    match = re.search(r"it does not know: ([^;]+)", because)
    lost = [w.strip() for w in match[1].split(",")] if match else []
    found = []
    for word in lost:
        mine = [k for k in kinds if word in k.split(".")]
        if mine:
            found.append(
                Open(
                    question=f"What is {word}?",
                    evidence=(f"The relative names no such weight: {', '.join(mine[:3])}.",),
                )
            )
    return found


def _processor(tree: ast.Module, class_name: str, module: str) -> str:
    """The decorator of the relative's class that registers its multimodal processor, with the imports it needs."""
    for node in tree.body:
        if not (isinstance(node, ast.ClassDef) and node.name == class_name):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == PROCESSOR:
                names = sorted({n.id for n in ast.walk(decorator) if isinstance(n, ast.Name)} - {"MULTIMODAL_REGISTRY"})
                imports = f"from {module} import (\n" + "".join(f"    {n},\n" for n in names) + ")\n"
                head = "from vllm.multimodal import MULTIMODAL_REGISTRY\n"
                return f"{head}{imports}\n\n@{ast.unparse(decorator)}"
    return ""
