"""A model as a subclass of its nearest relative, with an explicit weight mapping.

In: the checkpoint, the plan, the registry, the engine's sources. Out: `Overlay`. The mapping names every kind of the
checkpoint's tensors; each starts as its own name, and the dry run says which the relative does not load: a name may be
known to a layer that the relative uses, so nothing is called unknown here. Words that the relative's own files never
say are marked beside the names, as a hint. A multimodal class gets the relative's processor, found at its decorator.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from seatrial import __version__
from seatrial.adapter.scaffold.choose import Plan
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.roles import DRAFT, NUMBER
from seatrial.adapter.scaffold.unpack import plain_name
from seatrial.checkpoint import Checkpoint
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.support.modules import Package
from seatrial.support.registry_records import Registered, RegistryTable

PROCESSOR = "MULTIMODAL_REGISTRY.register_processor"


class Row(Record):
    """A line of the mapping; `hint` are its words that the relative's own files never say.

    `plain`: only the tiny checkpoint has it, which is not quantised.
    """

    kind: str
    hint: str
    left_out: bool
    plain: bool = False


class Overlay(Record):
    """The file's text; `hints` are words of weight names that the relative's own files never say."""

    text: str
    hints: tuple[str, ...]


def entry_of(plan: Plan, table: RegistryTable) -> Registered:
    """The relative in this vLLM's registry; raises UsageError if it is none of them."""
    name = plan.relative.architecture if plan.relative is not None else ""
    entry = table.supported().get(name)
    if entry is None:
        raise UsageError(f"vLLM {table.engine_version} has no {name!r}", mend="See `seatrial registry list`.")
    return entry


def overlay(
    arch: str, whole: Checkpoint, plan: Plan, table: RegistryTable, engine: Package, *, drafted: bool = False
) -> Overlay:
    """`drafted`: a draft (MTP) is written too, and takes its tensors by this mapping; else they are left out.

    Raises UsageError if the relative is none of this vLLM's, or its source cannot be read.
    """
    relative, entry = plan.relative, entry_of(plan, table)
    module = engine.get(entry.module)
    if relative is None or module is None or module.tree is None:
        raise UsageError(
            f"the source of {entry.class_path} cannot be read", mend="Name a vLLM whose sources are whole by --engine."
        )
    if entry.class_name == arch:
        raise UsageError(f"{arch} is the relative itself", mend="Name another one by --base.")
    kinds = sorted({NUMBER.sub("*", t.name) for t in whole.tensors})
    plain = sorted({plain_name(k) for k in kinds} - set(kinds))
    hints = _hints(relative.because)
    decorator = _processor(module.tree, entry.class_name, entry.module)
    text = render(
        "overlay.py.jinja",
        arch=arch,
        relative=relative.architecture,
        relative_class=entry.class_name,
        module=entry.module,
        because=[plan.because, *relative.because.split("; ")],
        kinds=[
            Row(
                kind=k,
                hint=", ".join(w for w in hints if w in k.split(".")),
                left_out=not drafted and DRAFT.match(k) is not None,
                plain=k in plain,
            )
            for k in (*kinds, *plain)
        ],
        processors=decorator,
        seatrial=__version__,
        checkpoint=Path(whole.card.folder).name,
        tensors=len(whole.tensors),
        vllm=table.engine_version,
    )
    return Overlay(text=text, hints=hints)


def _hints(because: str) -> tuple[str, ...]:
    """The words that the relative's score names as not known."""
    match = re.search(r"it does not know: ([^;]+)", because)
    return tuple(w.strip() for w in match[1].split(",") if " " not in w.strip()) if match else ()


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
