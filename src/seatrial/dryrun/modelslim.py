"""A ModelSlim description (`quant_model_description.json`) held against the plugin's tables and the checkpoint.

In: a checkpoint folder, its tensors, the plugin's source folder (or None). Out: a `SlimCheck` with every fault at once,
where the plugin itself stops at the first one. Nothing is imported: the tables (packed modules by model type, quantised
schemes by kind of layer) are read from the plugin's source as text. The rules are those of vllm-ascend's
`quantization/modelslim_config.py`: the shards of a fused layer are all described and of one type, a routed layer's
experts too (the plugin looks at expert 0 alone), and a scheme is registered for (type, kind of layer). Names are those
that the plugin looks up (`modelslim_names.py`); the KV cache's entries have rules of their own (`modelslim_cache.py`).
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from seatrial.checkpoint.documents import MAX_DOCUMENT, load
from seatrial.checkpoint.files import Folder
from seatrial.core.finding import Finding
from seatrial.core.record import Record
from seatrial.dryrun.account import SlimCheck, SlimFault, SlimFaultKind
from seatrial.dryrun.modelslim_cache import cache_faults
from seatrial.dryrun.modelslim_names import PACKED, NameMaps, constants, literal, looked_up, read_maps, unreachable
from seatrial.dryrun.tensor import HeaderTensor, kind_of

FILE = "quant_model_description.json"
FLOAT = "FLOAT"
# Fused layers that nearly every decoder of vLLM has, where the plugin lists none of its own for a model type: vLLM's
# model class then says which, so a half-described one is not judged here.
USUAL = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
EXPERT = re.compile(r"^(?P<layer>.*\.experts)\.(?P<number>\d+)\.(?P<leaf>.+)$")
SCALED = re.compile(r"^W8A8(_DYNAMIC|_MIX)?$|^W8A16$|^W4A8_DYNAMIC$")
FLOAT_DTYPES = {"BF16", "F16", "F32", "F64"}


class PluginTables(Record):
    """`packed`: model type to fused module to its parts; `schemes`: (type, kind of layer) pairs that are registered."""

    packed: dict[str, dict[str, list[str]]]
    schemes: frozenset[tuple[str, str]]
    maps: NameMaps = NameMaps()


def read_tables(plugin: Path, chip: str = "") -> PluginTables | None:
    """The tables in the source of `plugin` (the package's folder); None where they are not there as plain literals."""
    try:
        return _tables(plugin, chip)
    except (OSError, SyntaxError, ValueError):
        return None


def _tables(plugin: Path, chip: str) -> PluginTables | None:
    folder = plugin / "quantization"
    config = folder / "modelslim_config.py"
    if not config.is_file():
        return None
    text = config.read_text(encoding="utf-8", errors="replace")
    known = constants(ast.parse(text))
    name = "packed_modules_model_mapping"
    packed: dict[str, dict[str, list[str]]] = literal(name, known) if name in known else {}
    methods = plugin / "_310p" / "quantization" if chip == "_310P" else folder / "methods"
    schemes = {pair for file in sorted(methods.rglob("*.py")) for pair in _registered(file)}
    return PluginTables(packed=packed, schemes=frozenset(schemes), maps=read_maps(known, text))


def _registered(file: Path) -> Iterable[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
        for decorator in getattr(node, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
                words = [a.value for a in decorator.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                if decorator.func.id == "register_scheme" and len(words) == 2:
                    yield words[0], words[1]


def check(
    folder: Path, model_type: str, tensors: Iterable[HeaderTensor], tables: PluginTables | None
) -> SlimCheck | None:
    """None where the folder has no description."""
    opened = Folder(folder)
    if not opened.has(FILE):
        return None
    data, why = _document(opened, FILE)
    if data is None:
        return SlimCheck(model_type=model_type, faults=(SlimFault(kind="unreadable", place=FILE, message=why),))
    maps = tables.maps if tables is not None else NameMaps()
    types = {
        key.removesuffix(".weight"): value
        for key, value in data.items()
        if key.endswith(".weight") and isinstance(value, str)
    }
    packed_types = {
        key.removesuffix(PACKED): value
        for key, value in data.items()
        if maps.unpacks and key.endswith(PACKED) and isinstance(value, str)
    }
    looked = looked_up({**packed_types, **types}, maps, model_type)
    known = tables is not None and model_type in tables.packed
    packed = tables.packed[model_type] if tables is not None and known else USUAL
    faults = [*_shards(looked, packed, judge_missing=known, spares_v=maps.spares_v), *_experts(looked)]
    headers = {t.name: t for t in tensors}
    if tables is not None:
        faults += _schemes(looked, tables.schemes)
        faults += unreachable({**packed_types, **types}, data, maps, model_type)
    faults += cache_faults(data, headers, tables.schemes if tables is not None else None)
    faults += _against(types, headers, packed_types)
    return SlimCheck(
        model_type=model_type,
        types=dict(Counter(types.values())),
        known_model_type=known,
        schemes_read=tables is not None,
        faults=tuple(faults),
    )


def model_type(folder: Path) -> str:
    """`model_type` of config.json, by which the plugin chooses its table; empty if it says none."""
    data, _ = _document(Folder(folder), "config.json")
    found = (data or {}).get("model_type")
    return found if isinstance(found, str) else ""


class Read(NamedTuple):
    data: dict[str, Any] | None
    why: str


def _document(folder: Folder, name: str) -> Read:
    content = folder.read(name, limit=MAX_DOCUMENT)
    if isinstance(content, Finding):
        return Read(None, content.message)
    document = load(content.data, name)
    return Read(document.data, "; ".join(f.message for f in document.findings) or "is not a JSON object")


def _shards(
    types: dict[str, str], packed: dict[str, list[str]], *, judge_missing: bool, spares_v: bool = False
) -> Iterable[SlimFault]:
    for fused, parts in packed.items():
        if any("experts." in part for part in parts):
            continue  # see _experts
        parents: dict[str, dict[str, str]] = defaultdict(dict)
        for layer, kind in types.items():
            for part in parts:
                if layer.endswith("." + part) and not EXPERT.match(layer):
                    parents[layer.removesuffix("." + part)][part] = kind
        for parent, found in parents.items():
            name = f"{parent}.{fused}"
            said = ", ".join(f"{part} {found[part]}" for part in parts if part in found)
            if len(set(found.values())) > 1:
                yield SlimFault(kind="shards", place=name, message=f"its shards are of different types: {said}")
            elif len(found) < len(parts) and judge_missing:
                lost = ", ".join(part for part in parts if part not in found)
                if spares_v and lost == "v_proj":
                    continue  # the plugin makes it from k
                yield SlimFault(kind="partial", place=name, message=f"{lost} of it is not described ({said} is)")


def _experts(types: dict[str, str]) -> Iterable[SlimFault]:
    layers: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for layer, kind in types.items():
        found = EXPERT.match(layer)
        if found:
            layers[found["layer"]][kind].append(layer)
    for layer, kinds in layers.items():
        if len(kinds) > 1:
            usual = max(kinds, key=lambda kind: len(kinds[kind]))
            odd = [name for kind, names in kinds.items() if kind != usual for name in names]
            message = (
                f"its experts are of different types: {len(odd)} are not {usual}, such as {odd[0]} ({types[odd[0]]})"
            )
            yield SlimFault(kind="experts", place=layer, message=message)


def _schemes(types: dict[str, str], schemes: frozenset[tuple[str, str]]) -> Iterable[SlimFault]:
    missing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for layer, kind in types.items():
        of = "moe" if EXPERT.match(layer) else "linear"
        if kind != FLOAT and (kind, of) not in schemes:
            missing[(kind, of)].append(layer)
    for (kind, of), layers in missing.items():
        able = ", ".join(sorted(t for t, o in schemes if o == of))
        message = f"the plugin has no scheme {kind!r} for {of} layers ({len(layers)} of them); it has {able}"
        yield SlimFault(kind="scheme", place=layers[0], message=message)


def _against(types: dict[str, str], tensors: dict[str, HeaderTensor], packed: dict[str, str]) -> Iterable[SlimFault]:
    """The description against the headers, one fault for each kind of name."""
    groups: dict[tuple[SlimFaultKind, str, str], list[str]] = defaultdict(list)
    for layer, kind in types.items():
        weight = tensors.get(layer + ".weight")
        if weight is None:
            groups[("tensor", kind_of(layer), f"is described as {kind} but not in the checkpoint")].append(layer)
        elif kind == FLOAT and weight.dtype not in FLOAT_DTYPES:
            groups[("dtype", kind_of(layer), f"is described as {FLOAT} but stored as {weight.dtype}")].append(layer)
        elif SCALED.match(kind) and weight.dtype in FLOAT_DTYPES:
            groups[("dtype", kind_of(layer), f"is described as {kind} but stored as {weight.dtype}")].append(layer)
        elif SCALED.match(kind) and layer + ".weight_scale" not in tensors:
            groups[("tensor", kind_of(layer), f"is described as {kind} but has no weight_scale")].append(layer)
    for layer, kind in packed.items():
        if layer + PACKED not in tensors:
            groups[("tensor", kind_of(layer), f"is described as {kind} but not in the checkpoint")].append(layer)
    for name, tensor in tensors.items():
        layer = name.removesuffix(".weight")
        if name.endswith(".weight") and tensor.dtype == "I8" and layer not in types:
            groups[("tensor", kind_of(layer), "is stored as I8 but not described")].append(layer)
    for (fault, _, why), layers in groups.items():
        more = f" (and {len(layers) - 1} more like it)" if len(layers) > 1 else ""
        yield SlimFault(kind=fault, place=layers[0] + ".weight", message=why + more)
