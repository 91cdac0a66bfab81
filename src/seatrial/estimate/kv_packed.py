"""Groups of layers whose pages differ in size, in a layout where a block's pages of all layers lie together.

In: the layers' `CacheSpec`s in the engine's order. Out: groups. The rules are vLLM 0.32's `_get_packed_kv_cache_groups`
(v1/core/kv_cache_utils.py): layers of one type share a bucket; a bucket with as many layers of each page size repeats a
pattern, and such buckets are split so that all groups cover about as many repeats; states fill what a block has anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from seatrial.estimate.kv_specs import CacheSpec
from seatrial.estimate.model import NotModelled

Specs = Sequence[CacheSpec]


def packed_groups(specs: Specs, one_type: Callable[[Specs], bool]) -> list[list[CacheSpec]]:
    """`one_type` says whether layers need the same number of token slots."""
    buckets: list[list[CacheSpec]] = []
    for spec in specs:
        bucket = next((b for b in buckets if one_type([*b, spec])), None)
        if bucket is None:
            buckets.append([spec])
        else:
            bucket.append(spec)
    least = max((_repeats(b) for b in buckets if _balanced(b) and len(_pages(b)) > 1), default=0)
    repeats = approximate_divisor([_repeats(b) for b in buckets if _balanced(b)], least) if least else None
    anchor = max(_widest(b, len(b) if _is_state(b, repeats) else _splits(b, repeats)) for b in buckets)
    groups: list[list[CacheSpec]] = []
    for bucket in buckets:
        number = _splits(bucket, repeats)
        if _is_state(bucket, repeats):
            number = max(number, -(-len(bucket) // max(anchor // bucket[0].page, 1)))
        if number == 1:
            groups.append(bucket)
            continue
        if not _balanced(bucket):
            # The engine pairs the layers of each size one by one there, and would leave some out.
            raise NotModelled(f"packed pages of {', '.join(map(str, _pages(bucket)))} bytes in unequal numbers")
        pattern = list(zip(*_pages(bucket).values(), strict=True))
        groups += [[spec for repeat in pattern[i::number] for spec in repeat] for i in range(number)]
    return groups


def _pages(bucket: Specs) -> dict[int, list[CacheSpec]]:
    made: dict[int, list[CacheSpec]] = {}
    for spec in bucket:
        made.setdefault(spec.page, []).append(spec)
    return made


def _balanced(bucket: Specs) -> bool:
    return len({len(layers) for layers in _pages(bucket).values()}) == 1


def _repeats(bucket: Specs) -> int:
    """Layers of the commonest page size."""
    return Counter(spec.page for spec in bucket).most_common(1)[0][1]


def _splits(bucket: Specs, repeats: int | None) -> int:
    return -(-_repeats(bucket) // repeats) if repeats is not None and _balanced(bucket) else 1


def _widest(bucket: Specs, number: int) -> int:
    """Bytes of the largest of `number` groups."""
    return sum(-(-len(layers) // number) * page for page, layers in _pages(bucket).items())


def _is_state(bucket: Specs, repeats: int | None) -> bool:
    kind = bucket[0].kind
    return kind in ("state", "ring") or (repeats is None and kind in ("window", "window-mla"))


def approximate_divisor(values: Sequence[int], least: int) -> int:
    """The number from `least` to the largest value to whose multiples all values are raised with the least padding."""
    low, high = max(1, least), max(values)
    if low > high:
        return low
    # Of equally good ones the larger.
    return min(range(low, high + 1), key=lambda d: (sum(-v % d for v in values), -d))
