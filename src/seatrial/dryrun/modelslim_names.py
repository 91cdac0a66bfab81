"""How vllm-ascend's ModelSlim reader names layers: its prefix and substring maps by model type, read from its source.

In: the syntax tree of `quantization/modelslim_config.py`. Out: `NameMaps`, and the keys of a description as the plugin
looks them up. The plugin maps a module's name by these before it looks; a description in the checkpoint's own naming
(DeepSeek-V4: `layers.3.ffn.experts.0.w1`) is held against that by mapping its keys in the same way. What it does to the
keys themselves stands in its code (`_apply_extra_quant_adaptations`); a word of it is looked for, so that a version
without that step is told from one with it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from seatrial.core.record import Record
from seatrial.dryrun.account import SlimFault
from seatrial.dryrun.tensor import kind_of

# A description with this key is one of DeepSeek-V4 in its own naming, whose keys the plugin adds under its names too.
OWN_NAMING = "hc_head_fn"
PACKED = ".weight_packed"
MOST_DEPTH = 8  # constants that stand in constants


class NameMaps(Record):
    """`prefixes` and `substrings` by model type. `renames`: the plugin adds keys in its own naming, for descriptions
    that have OWN_NAMING; `unpacks`: `weight_packed` counts as `weight`; `spares_v`: a `v_proj` may be left out where
    `q_proj` and `k_proj` are described (it is made from k)."""

    prefixes: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    substrings: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    renames: bool = False
    unpacks: bool = False
    spares_v: bool = False


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """What the module assigns to plain names at its top, unevaluated."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            found[node.target.id] = node.value
    return found


def literal(name: str, known: Mapping[str, ast.expr], depth: int = 0) -> Any:
    """The value of the constant `name`: a literal, in which other constants may stand by name. ValueError if it is more
    than that."""
    if depth > MOST_DEPTH or name not in known:
        raise ValueError(f"{name} is no constant of the module")
    return _value(known[name], known, depth + 1)


def _value(node: ast.expr, known: Mapping[str, ast.expr], depth: int) -> Any:
    if isinstance(node, ast.Name):
        return literal(node.id, known, depth)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item, known, depth) for item in node.elts]
    if isinstance(node, ast.Dict):
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(_value(value, known, depth))
            else:
                made[ast.literal_eval(key)] = _value(value, known, depth)
        return made
    return ast.literal_eval(node)


def read_maps(known: Mapping[str, ast.expr], text: str) -> NameMaps:
    """From the plugin's source; ValueError where a map is no plain literal."""

    def table(name: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = literal(name, known) if name in known else {}
        return found

    return NameMaps(
        prefixes=table("QUANT_MODEL_PREFIX_MAPPINGS"),
        substrings=table("QUANT_MODEL_SUBSTR_MAPPINGS"),
        renames=f'"{OWN_NAMING}"' in text,
        unpacks='"weight_packed"' in text,
        spares_v="_is_missing_v_shard" in text,
    )


def mapped(name: str, maps: NameMaps, model_type: str) -> str:
    """The name that the plugin looks up: substrings first, then a prefix, as vLLM's WeightsMapper does."""
    for old, new in maps.substrings.get(model_type, {}).items():
        name = name.replace(old, new, 1)
    for old, new in maps.prefixes.get(model_type, {}).items():
        if name.startswith(old):
            name = name.replace(old, new, 1)
    return name


def looked_up(types: Mapping[str, str], maps: NameMaps, model_type: str) -> dict[str, str]:
    """Layers to types under the plugin's names."""
    return {mapped(f"{layer}.weight", maps, model_type).removesuffix(".weight"): t for layer, t in types.items()}


def unreachable(types: Mapping[str, str], keys: Iterable[str], maps: NameMaps, model_type: str) -> Iterable[SlimFault]:
    """Layers that are described under a name which the plugin never looks up, one fault for each kind."""
    known = set(types)
    if not (maps.prefixes.get(model_type) or maps.substrings.get(model_type)):
        return
    if maps.renames and OWN_NAMING in set(keys):
        return
    kinds: dict[str, list[str]] = {}
    for layer in types:
        other = mapped(f"{layer}.weight", maps, model_type).removesuffix(".weight")
        if other != layer and other not in known:
            kinds.setdefault(kind_of(layer), []).append(layer)
    for layers in kinds.values():
        first = min(layers)
        other = mapped(f"{first}.weight", maps, model_type)
        more = f" (and {len(layers) - 1} more like it)" if len(layers) > 1 else ""
        why = f"the plugin looks for {other}, which is not described{more}"
        yield SlimFault(kind="lookup", place=f"{first}.weight", message=why)
