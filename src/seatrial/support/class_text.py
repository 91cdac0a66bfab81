"""What a registered model class can do, by the text of its sources: its interfaces, and whether its module imports.

vLLM marks capabilities by interface classes (`SupportsPP`, `SupportsLoRA`, …, in
`model_executor/models/interfaces.py`); the engine derives the same answers from the imported class. A class with a base
that the text does not show leaves what is not found open: `None`, never False.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from seatrial.core.record import Record
from seatrial.support.compat import compat
from seatrial.support.compat.classes import Classes, ClassRef, members
from seatrial.support.compat.names import Names
from seatrial.support.modules import Package
from seatrial.support.registry_read import plugin_distribution, plugin_package
from seatrial.support.source import open_source

# Interface class to the key the engine's own probe uses for it.
INTERFACES = {
    "SupportsPP": "supports_pp",
    "SupportsLoRA": "supports_lora",
    "SupportsMultiModal": "supports_multimodal",
    "SupportsTranscription": "supports_transcription",
    "SupportsMRoPE": "supports_mrope",
    "IsHybrid": "is_hybrid",
    "IsAttentionFree": "is_attention_free",
    "HasInnerState": "has_inner_state",
}


class ClassText(Record):
    """`info`: capability to whether the class has it, None where the text leaves it open.

    `importable`: what the compatibility meter says of a plugin's class; None for vLLM's own, which fit their vLLM.
    `because`: the places in the way.
    """

    info: dict[str, bool | None]
    importable: bool | None
    because: tuple[str, ...]


def class_text(class_path: str, architecture: str, engine: Path, plugins: Sequence[Path]) -> ClassText:
    """Read `module:Class`. Raises SeatrialError subclasses for sources that cannot be opened."""
    module, _, name = class_path.partition(":")
    top = module.split(".")[0]
    vllm = Package("vllm", open_source(engine))
    own, source = vllm, None
    for path in plugins:
        trees = open_source(path)
        package = plugin_package(trees, plugin_distribution(trees))
        if package.name == top:
            own, source = package, path
    info = _interfaces(Classes(Names(vllm), Names(own)), module, name)
    if source is None:
        return ClassText(info=info, importable=None, because=())
    impacts = compat(engine, source).architectures
    impact = next((i for i in impacts if i.architecture == architecture), None)
    if impact is None:
        return ClassText(info=info, importable=None, because=())
    return ClassText(info=info, importable=impact.importable, because=impact.because)


def _interfaces(classes: Classes, module: str, name: str) -> dict[str, bool | None]:
    ref = classes.find(module, name)
    if ref is None:
        return dict.fromkeys(INTERFACES.values())
    ancestry = classes.ancestry(ref)
    found = {item.node.name for item in ancestry.classes}
    # Interfaces are protocols; a base from torch brings none of them.
    open_bases = [u for u in ancestry.unseen if u.split(".")[0] not in ("nn", "torch", "ABC", "Protocol", "Generic")]
    info: dict[str, bool | None] = {
        key: True if face in found else (None if open_bases else False) for face, key in INTERFACES.items()
    }
    if info["supports_pp"] and not open_bases and not _passes_on(ancestry.classes):
        info["supports_pp"] = False
    return info


def _passes_on(classes: Sequence[ClassRef]) -> bool:
    """vLLM also asks that `forward` takes `intermediate_tensors`: draft models inherit the interface without it."""
    for item in classes:
        if any("Protocol" in ast.unparse(base) for base in item.node.bases):
            continue  # an interface's own forward is a declaration
        forward = members(item.node).get("forward")
        if isinstance(forward, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = forward.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            return arguments.kwarg is not None or any(a.arg == "intermediate_tensors" for a in named)
    return True
