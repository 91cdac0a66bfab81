"""The records of the KV cache: one `CacheSpec` per layer that keeps one, and all of them as `KvCache`."""

from __future__ import annotations

from typing import Literal

from seatrial.core.record import Record

# Of a plan without the draft's checkpoint.
NOT_COUNTED = "the cache of a separate draft model is not counted"
Kind = Literal["full", "mla", "window", "window-mla", "chunk", "state", "cross", "ring"]


class CacheSpec(Record):
    """One layer's cache. `merge` is equal for layers that can share a group with one page size.

    `block` in tokens, `page` and `content` in bytes per block of one layer on one rank. `states`: how many states one
    request holds (with prefix caching also those at block borders; Mamba 2 one more, for its prefill checkpoint).
    `formula` is what `content` was made from; `encoder` how many of an encoder's tokens are kept (cross-attention).
    """

    layer: int
    role: str
    kind: Kind
    block: int
    page: int
    content: int
    merge: str
    formula: str
    window: int | None = None
    chunk: int | None = None
    states: int = 1
    encoder: int | None = None


class KvCache(Record):
    """All layers on one rank, with the block sizes the engine would choose and what was read for it.

    `packed`: the attention asks for a layout in which a block's pages of all layers lie together, so that pages of
    different sizes stand side by side.
    """

    specs: tuple[CacheSpec, ...]
    block: int
    state_aligned: bool
    dtype: str
    notes: tuple[str, ...] = ()
    packed: bool = False

    def content_per_token(self) -> float:
        """Bytes that one more token of a long context needs, by formula alone: windows and states add nothing."""
        return sum(s.content / s.block for s in self.specs if s.kind in ("full", "mla"))
