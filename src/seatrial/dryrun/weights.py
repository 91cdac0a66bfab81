"""What each rank's parameters take, as the engine built them on the meta device.

In: the raw ranks. Out: `RankWeights`. A tensor that two names share (a tied head) counts once; buffers do not count.
"""

from __future__ import annotations

from math import prod

from seatrial.dryrun.account import RankWeights
from seatrial.dryrun.raw import RawDry

# Bytes of torch's dtypes; two 4-bit numbers share one element of `float4_e2m1fn_x2`.
SIZES = {
    "bool": 1, "uint8": 1, "int8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e8m0fnu": 1, "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1, "float4_e2m1fn_x2": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4,
    "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8, "complex64": 8,
}  # fmt: skip


def rank_weights(raw: RawDry) -> tuple[RankWeights, ...]:
    """Every rank that was built; `bytes` is None where a dtype is not known."""
    made = []
    for rank in raw.ranks:
        if not rank.built:
            continue
        seen: set[tuple[int, int, tuple[int, ...]]] = set()
        total, odd = 0, False
        for parameter in rank.parameters:
            identity = (parameter.storage_id, parameter.offset, tuple(parameter.shape))
            if not parameter.parameter or identity in seen:
                continue
            seen.add(identity)
            size = SIZES.get(parameter.dtype)
            odd = odd or size is None
            total += prod(parameter.shape) * (size or 0)
        made.append(RankWeights(rank=rank.rank, parameters=len(seen), bytes=None if odd else total))
    return tuple(made)
