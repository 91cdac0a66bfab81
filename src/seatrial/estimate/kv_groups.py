"""How the engine's block pool is shared out: groups of layers, bytes per block, blocks per request, tokens.

In: the layers' `CacheSpec`s, lengths, an amount of memory. Out: `Pool` and `Capacity`. The rules are vLLM 0.32's
(`v1/core/kv_cache_utils.py`: get_kv_cache_groups, get_kv_cache_config_from_groups, get_kv_cache_capacity); every figure
of `Capacity` is compared with the engine's own by `bench/plan_engine.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from seatrial.core.record import Record
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.kv_packed import packed_groups
from seatrial.estimate.kv_specs import CacheSpec, KvCache
from seatrial.estimate.layout import Serving
from seatrial.estimate.model import NotModelled, altered, need

FULL = ("full", "mla")
How = Literal["one kind", "one type", "pages made equal", "packed", "none"]


class Group(Record):
    """Layers that share a block table. `bytes_per_block` is the sum of its layers' pages."""

    layers: int
    spec: CacheSpec
    bytes_per_block: int


class Pool(Record):
    """`block_bytes`: what one block takes over all layers (the widest group). `how`: which rule formed the groups."""

    groups: tuple[Group, ...]
    block_bytes: int
    how: How


class Capacity(Record):
    """What an amount of KV memory holds, in the engine's own words: the token figure is concurrency x length, rounded
    down, as its log prints it. `needed` bytes serve one request of the longest length; `fits`: they are there."""

    memory: int
    blocks: int
    tokens: int
    concurrency: float
    needed: int
    fits: bool


def pool(cache: KvCache, serving: Serving, rules: EngineRules) -> Pool:
    """Form the groups. Raises NotModelled for the mixes that no rule here covers."""
    specs = list(cache.specs)
    chunked = any(s.kind == "chunk" for s in specs)
    if (chunked and not rules.chunked_hybrid) or not rules.hybrid_manager:
        specs = _promoted(specs)
    if not specs:
        return Pool(groups=(), block_bytes=0, how="none")
    if len({s.merge for s in specs}) == 1:
        return _made([specs], "one kind")
    if _one_type(specs):
        return _made([specs], "one type")
    pages = {s.page for s in specs}
    if (rules.block_outermost or cache.packed) and len(pages) > 1:
        return _made(packed_groups(specs, _one_type), "packed")
    return _made(_split(_equal_pages(specs)), "pages made equal")


def _made(groups: Sequence[Sequence[CacheSpec]], how: How) -> Pool:
    made = tuple(
        Group(layers=len(specs), spec=specs[0], bytes_per_block=sum(s.page for s in specs)) for specs in groups
    )
    return Pool(groups=made, block_bytes=max(g.bytes_per_block for g in made), how=how)


def _promoted(specs: list[CacheSpec]) -> list[CacheSpec]:
    """Without the hybrid manager a window or chunk next to full attention is allocated as full attention."""
    if len({s.merge for s in specs}) == 1 or _one_type(specs) or not any(s.kind in FULL for s in specs):
        return specs
    block = next(s.block for s in specs if s.kind in FULL)
    out: list[CacheSpec] = []
    for spec in specs:
        if spec.kind not in ("window", "chunk"):
            out.append(spec)
            continue
        page = spec.page * block // spec.block
        sizes = spec.merge.split(" ", 3)[3]
        whole = f"full  {block} {sizes}"
        out.append(
            altered(spec, kind="full", block=block, page=page, content=page, merge=whole, window=None, chunk=None)
        )
    return out


def _one_type(specs: Sequence[CacheSpec]) -> bool:
    """Whether all need the same number of token slots: all full (MLA and indexer too), or windows of one size, …"""
    if len({s.block for s in specs}) > 1:
        return False
    first = specs[0]
    if first.kind in FULL:
        return all(s.kind in FULL for s in specs)
    if first.kind == "state":
        return all(s.kind == "state" and s.page == first.page for s in specs)
    return all(s.kind == first.kind and s.window == first.window and s.chunk == first.chunk for s in specs)


def _equal_pages(specs: Sequence[CacheSpec]) -> list[CacheSpec]:
    """Smaller pages grow to the largest: by more tokens where it divides, else by padding."""
    largest = max(s.page for s in specs)
    out: list[CacheSpec] = []
    for spec in specs:
        if spec.page == largest:
            out.append(spec)
        elif spec.kind == "state":
            out.append(altered(spec, page=largest, merge=f"state {largest}"))
        elif largest % spec.page == 0:
            block = spec.block * (largest // spec.page)
            out.append(altered(spec, block=block, page=largest, merge=f"{spec.merge} grown {block}"))
        elif spec.kind == "mla":
            raise NotModelled(f"MLA pages of {spec.page} bytes beside pages of {largest}, which they do not divide")
        else:
            out.append(altered(spec, page=largest, merge=f"{spec.merge} padded {largest}"))
    return out


def _split(specs: Sequence[CacheSpec]) -> list[list[CacheSpec]]:
    """Groups of equal numbers of layers: the smallest kind's count, or the largest's where they are close."""
    buckets: dict[str, list[CacheSpec]] = {}
    for spec in specs:
        buckets.setdefault(spec.merge, []).append(spec)
    counts = [len(b) for b in buckets.values()]
    size = max(counts) if max(counts) < min(counts) * 1.5 else min(counts)
    groups: list[list[CacheSpec]] = []
    for bucket in buckets.values():
        number = -(-len(bucket) // size)
        groups += [bucket[i::number] for i in range(number)]
    return groups


def blocks_of(spec: CacheSpec, length: int, in_flight: int, cache: KvCache, serving: Serving) -> int:
    """Blocks one request of `length` tokens holds at most in this layer's group."""
    if spec.kind == "state":
        return spec.states + serving.spec_tokens
    if spec.kind == "ring":
        return 1
    if spec.kind in ("window", "window-mla"):
        return -(-min((spec.window or 1) - 1 + in_flight, length) // spec.block) + 1
    if spec.kind == "chunk":
        return -(-min((spec.chunk or 0) + in_flight, length) // spec.block)
    if spec.kind == "cross":
        return -(-need(spec.encoder, "encoder tokens", "of the cross-attention are not known") // spec.block)
    return -(-length // spec.block)


def blocks_per_request(pool_: Pool, length: int, in_flight: int, cache: KvCache, serving: Serving) -> int:
    """Blocks of the shared pool, over all groups."""
    return sum(blocks_of(g.spec, length, in_flight, cache, serving) for g in pool_.groups)


def capacity(pool_: Pool, memory: int, length: int, in_flight: int, cache: KvCache, serving: Serving) -> Capacity:
    """What `memory` bytes of KV cache hold for requests of `length` tokens.

    One block is never handed out (the engine's null block), which only the test whether one request fits considers.
    """
    if not pool_.groups:
        return Capacity(memory=memory, blocks=1, tokens=0, concurrency=0.0, needed=0, fits=True)
    each = blocks_per_request(pool_, length, in_flight, cache, serving)
    blocks = max(0, memory) // pool_.block_bytes
    concurrency = blocks / each
    needed = each * pool_.block_bytes
    return Capacity(
        memory=memory,
        blocks=blocks,
        tokens=int(concurrency * length),
        concurrency=concurrency,
        needed=needed,
        fits=needed <= memory - pool_.block_bytes,
    )


def longest(
    pool_: Pool, memory: int, requests: int, most: int, in_flight: int, cache: KvCache, serving: Serving
) -> int:
    """The longest length at which `requests` requests are held at once; 0 if none. `most` bounds the search."""
    if not pool_.groups:
        return most
    usable = max(0, memory) // pool_.block_bytes - 1

    def fits(length: int) -> bool:
        return requests * blocks_per_request(pool_, length, in_flight, cache, serving) <= usable

    if not fits(1):
        return 0
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
