"""A tiny checkpoint for a layout that no template knows: every tensor's shape from the sizes that it is made of.

In: config.json and the tensors. Out: `Tiny`. A side of a shape is matched with the config's sizes: one of them, heads
times head width, a small multiple, a sum; the first form that fits gives the smaller side. A side that none of them
gives is kept as it is and said (`kept`). Layers are cut after the last kind of layer has come once.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seatrial.adapter.scaffold.roles import DRAFT, NUMBER, NamedTensor
from seatrial.adapter.scaffold.sides import in_order, smaller
from seatrial.adapter.scaffold.sizes import Section, Size, sections
from seatrial.adapter.scaffold.tiny import PACKED, SCALES, Tiny
from seatrial.adapter.scaffold.unpack import packed_bits, unpacked
from seatrial.checkpoint.mtp import COUNTS

CONTAINER = re.compile(r"^((?:[^.]+\.)*?(?:layers|layer|h|blocks|block|resblocks|mtp_layers))\.(\d+)\.(.+)$")
EXPERT = re.compile(r"(?:^|\.)experts\.(\d+)\.")
MOST_LAYERS = 12


def shrink(config: Mapping[str, Any], tensors: Iterable[NamedTensor], draft: bool = False) -> Tiny:
    """The layout in small. `draft`: with the first draft (MTP) layer; else there are none, and config.json says so."""
    small: dict[str, Any] = copy.deepcopy(dict(config))
    found = sections(config)
    named = [t for t in tensors if draft or not DRAFT.match(t.name)]
    depths = _depths(config, found, named)
    for section in found:
        _resize(small, config, section, {c: d for c, d in depths.items() if d.section is section}, draft)
    _plain(small)
    bits = packed_bits(config)
    scales = {t.name.rpartition(".")[0]: t.shape for t in named if t.name.endswith(".scales")}
    shapes: dict[str, tuple[int, ...]] = {}
    left_out: dict[str, None] = {}
    kept: dict[str, None] = {}
    for stored in named:
        leaf = stored.name.rpartition(".")[2]
        if leaf in SCALES or not _small_name(stored.name, depths, found, draft):
            continue
        tensor: NamedTensor | None = stored
        if leaf in PACKED:
            tensor = unpacked(stored, scales.get(stored.name.rpartition(".")[0], ()), bits)
        if tensor is None or not all(tensor.shape):
            left_out[NUMBER.sub("*", stored.name)] = None
            continue
        kind = NUMBER.sub("*", tensor.name)
        order = in_order(tensor.name, found)
        sides: list[int] = []
        for at, side in enumerate(tensor.shape):
            size = smaller(side, tensor, at, order)
            if size is None and side > 1 and not any(side in s.others for s in order):
                kept[f"{kind} ({side})"] = None
            sides.append(side if size is None else size)
        shapes[_small_name(tensor.name, depths, found, draft)] = tuple(sides)
    return Tiny(config=small, shapes=shapes, left_out=tuple(left_out), kept=tuple(kept))


class _Depth:
    """The layers of one container (`model.layers`): how many there are, how many are kept, whose field counts them."""

    def __init__(self, section: Section | None, size: Size | None, count: int, kept: int) -> None:
        self.section, self.size, self.count, self.kept = section, size, count, kept


def _depths(config: Mapping[str, Any], found: Sequence[Section], named: list[NamedTensor]) -> dict[str, _Depth]:
    """By container. One whose layers no field counts keeps all of them."""
    inside: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for tensor in named:
        if match := CONTAINER.match(tensor.name):
            inside[match[1]][int(match[2])].add(NUMBER.sub("*", match[3]))
    depths = {}
    for container, layers in inside.items():
        count = max(layers) + 1
        section, size = _counted(container, count, found)
        if section is None or size is None:
            depths[container] = _Depth(None, None, count, count)
            continue
        fields = _at(config, section.path)
        lists = [v for v in fields.values() if isinstance(v, (list, str)) and len(v) == size.value]
        signs = [(frozenset(layers[n]), tuple(str(v[n]) for v in lists)) for n in range(min(size.value, count))]
        seen = [n for n, sign in enumerate(signs) if sign not in signs[:n]]
        least = max([2, *(len(v) for v in fields.values() if _indexes(v, size.value))])
        kept = min(size.value, max(least, seen[-1] + 1 if seen else 2), MOST_LAYERS)
        depths[container] = _Depth(section, size, count, kept)
    return depths


def _counted(container: str, count: int, found: Sequence[Section]) -> tuple[Section | None, Size | None]:
    """The section and field that count these layers: as many, or a few less (the rest are the draft's)."""
    for more in (0, 1, 2, 3):
        for section in in_order(container, found):
            for size in section.of("layers"):
                if size.value == count - more:
                    return section, size
    return None, None


def _by_layer(value: object, layers: int) -> bool:
    """Whether it is a table by layer number: `id2label` and the like are no such tables, they have other counts."""
    return isinstance(value, dict) and bool(value) and all(k.isdigit() and int(k) < layers for k in value)


def _indexes(value: object, layers: int) -> bool:
    """Whether it is a list of layer numbers, such as those whose output a tower hands on."""
    return (
        isinstance(value, list)
        and 0 < len(value) < layers
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < layers for n in value)
        and sorted(set(value)) == value
    )


def _resize(
    small: dict[str, Any], config: Mapping[str, Any], section: Section, depths: Mapping[str, _Depth], draft: bool
) -> None:
    """Write a section's smaller sizes, and cut its lists of layers."""
    fields, old = _at(small, section.path), _at(config, section.path)
    for size in section.sizes:
        if size.role != "layers":
            fields[size.field] = size.small
    for depth in depths.values():
        if depth.size is None:
            continue
        fields[depth.size.field] = depth.kept
        for name, value in old.items():
            if _by_layer(value, depth.size.value):
                fields[name] = {key: inner for key, inner in value.items() if int(key) < depth.kept}
            elif isinstance(value, (list, str)) and len(value) == depth.size.value > depth.kept:
                fields[name] = value[: depth.kept]
            elif "index" in name and _indexes(value, depth.size.value):
                fields[name] = list(range(len(value)))
    for holder in (fields, *(fields.get(n) for n in ("rope_scaling", "rope_parameters"))):
        if isinstance(holder, dict) and isinstance(holder.get("mrope_section"), list):
            holder["mrope_section"] = _parted(holder["mrope_section"], section)
    for name in COUNTS:
        if fields.get(name):
            fields[name] = int(draft)


def _parted(parts: list[int], section: Section) -> list[int]:
    """Shares of a head's rotary half, in the tiny head."""
    width = next((s for s in section.of("head width") if s.field == "head_dim"), None)
    if width is not None:
        by = width.value // width.small
    else:
        heads = next((s for s in section.of("heads") if "key_value" not in s.field), None)
        hidden = next((s for s in section.of("width") if s.field == "hidden_size"), None)
        by = hidden.value // heads.value // (hidden.small // heads.small) if heads and hidden else 1
    total = sum(parts) // by
    small = [n // by for n in parts]
    for n in range(total - sum(small)):
        small[n % len(small)] += 1
    return small


def _plain(small: dict[str, Any]) -> None:
    """Not quantised; token ids within the tiny vocabulary, those that differed still do."""
    for name in ("quantization_config", "compression_config"):
        small.pop(name, None)
    vocabulary = [size.small for section in sections(small) for size in section.of("vocabulary")]
    end = min(vocabulary, default=0)
    ids: dict[int, int] = {}

    def within(value: object) -> object:
        if isinstance(value, list):
            return [within(v) for v in value]
        if not end or not isinstance(value, int) or isinstance(value, bool) or value < end:
            return value
        return ids.setdefault(value, end - 1 - len(ids))

    def walk(fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            if isinstance(value, dict):
                walk(value)
            elif re.search(r"token_(id|index)s?$|_token$", name):
                fields[name] = within(value)

    walk(small)


def _small_name(name: str, depths: Mapping[str, _Depth], found: Sequence[Section], draft: bool) -> str:
    """The tensor's name in the tiny checkpoint; "" if its layer or expert is not there.

    The first draft layer that is numbered on from the model's follows the last one that is kept.
    """
    match = CONTAINER.match(name)
    if match:
        depth, number = depths[match[1]], int(match[2])
        if draft and depth.size is not None and number == depth.size.value and depth.section is found[0]:
            name = f"{match[1]}.{depth.kept}.{match[3]}"
        elif number >= (1 if DRAFT.match(name) else depth.kept):
            return ""
    expert = EXPERT.search(name)
    if expert is None:
        return name
    most = [size.small for section in in_order(name, found) for size in section.of("experts")]
    return name if not most or int(expert[1]) < most[0] else ""


def _at(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    fields: Any = config
    for key in path:
        fields = fields[key]
    return fields
