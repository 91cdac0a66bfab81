"""The KV-cache entries of a ModelSlim description: FA quantisation, the indexer's, and C8.

In: the whole description, the checkpoint's tensors, the schemes that the plugin registers (None: not read). Out: the
faults. The rules are those of vllm-ascend's `quantization/modelslim_config.py` (`_add_kvcache_quant_metadata`) and
`methods/kv_c8.py`: three keys switch them on, each layer is found by a key of its own, and its number is put together
from all numbers in that key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.core.record import Record
from seatrial.dryrun.account import SlimFault
from seatrial.dryrun.tensor import kind_of

NUMBERS = re.compile(r"\.(\d+)\.")
C8 = "C8"


class Switch(Record):
    """`key` of the description switches it on; layers are those with `mark` in a key; each needs `tensors` beside it.

    `silent`: parameters without a tensor keep a neutral value, so that a lost one is served without an error.
    """

    key: str
    mark: str
    tensors: tuple[str, ...]
    silent: bool = False


SWITCHES = (
    Switch(
        key="fa_quant_type",
        mark="fa_k.scale",
        tensors=("fa_q.scale", "fa_q.offset", "fa_k.scale", "fa_k.offset", "fa_v.scale", "fa_v.offset"),
    ),
    Switch(key="indexer_quant_type", mark="indexer.quant_type", tensors=("indexer.q_rot", "indexer.k_rot")),
    Switch(
        key="kv_cache_type",
        mark="k_proj.kv_cache_scale",
        tensors=tuple(f"{part}_proj.kv_cache_{what}" for part in "kv" for what in ("scale", "offset")),
        silent=True,
    ),
)


def cache_faults(
    data: Mapping[str, Any], tensors: Iterable[str], schemes: frozenset[tuple[str, str]] | None
) -> Iterable[SlimFault]:
    """Every fault of the entries, one for each kind of name."""
    names = set(tensors)
    for switch in SWITCHES:
        said = data.get(switch.key, "")
        marked = [key for key in data if switch.mark in key]
        if not said:
            if marked and switch.mark != "indexer.quant_type":
                why = f"no {switch.key} switches it on, so the plugin reads none ({len(marked)} layers)"
                yield SlimFault(kind="cache", place=marked[0], message=why)
            continue
        if switch.key == "kv_cache_type" and said != C8:
            yield SlimFault(kind="cache", place=switch.key, message=f"is {said!r}; the plugin knows {C8} alone")
            continue
        if not marked:
            why = f"is {said!r}, but no key names a layer by {switch.mark}: the plugin quantises no layer's cache"
            yield SlimFault(kind="cache", place=switch.key, message=why)
        yield from _schemes(switch, data, marked, schemes)
        yield from _layers(switch, marked, names)


def _schemes(
    switch: Switch, data: Mapping[str, Any], marked: list[str], schemes: frozenset[tuple[str, str]] | None
) -> Iterable[SlimFault]:
    if schemes is None or switch.key == "kv_cache_type":
        return
    own = {data[key] for key in marked if switch.mark == "indexer.quant_type"}
    for kind in sorted({str(data[switch.key]), *map(str, own)}):
        if (kind, "attention") not in schemes:
            able = ", ".join(sorted(t for t, of in schemes if of == "attention")) or "none"
            why = f"the plugin has no scheme {kind!r} for attention layers; it has {able}"
            yield SlimFault(kind="scheme", place=switch.key, message=why)


def _layers(switch: Switch, marked: list[str], names: set[str]) -> Iterable[SlimFault]:
    lost: dict[tuple[str, str], list[str]] = {}
    for key in marked:
        if len(NUMBERS.findall(key)) != 1:
            why = "has no layer's number in it" if not NUMBERS.search(key) else "has more numbers than the layer's"
            then = (
                "the plugin cannot read it" if not NUMBERS.search(key) else "the plugin joins them to another layer's"
            )
            yield SlimFault(kind="cache", place=key, message=f"{why}: {then}")
            continue
        parent = key.partition(switch.mark)[0]
        for leaf in switch.tensors:
            if parent + leaf not in names:
                lost.setdefault((kind_of(parent), leaf), []).append(parent + leaf)
    for missing in lost.values():
        more = f" (and {len(missing) - 1} more like it)" if len(missing) > 1 else ""
        then = "; the plugin then uses a neutral value and says nothing" if switch.silent else ""
        why = f"{switch.key} needs it, but it is not in the checkpoint{more}{then}"
        yield SlimFault(kind="tensor", place=missing[0], message=why)
