"""Which family a kernel or operator belongs to, by its name. One file per family; the order below decides.

An earlier family wins: a fused `AddRmsNormQuant` is a norm, `flash_fwd_splitkv` is attention although it multiplies
matrices, and only what no special family wants is a plain gemm or elementwise kernel.
"""

from __future__ import annotations

import re
from functools import cache

from seatrial.measure.profile.families import (
    activation,
    attention,
    communication,
    copy,
    elementwise,
    embedding,
    gemm,
    kv_cache,
    layout,
    linear_attention,
    moe,
    norm,
    quantization,
    reduction,
    rope,
    sampling,
)
from seatrial.measure.profile.families.base import Family

OTHER = "other"
FAMILIES: tuple[Family, ...] = tuple(
    module.FAMILY
    for module in (
        communication,
        linear_attention,
        kv_cache,
        attention,
        moe,
        rope,
        norm,
        sampling,
        activation,
        quantization,
        embedding,
        gemm,
        copy,
        layout,
        reduction,
        elementwise,
    )
)


@cache
def _compiled() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((family.name, family.compiled()) for family in FAMILIES)


@cache
def family_of(name: str) -> str:
    """The family's name, `other` if none claims it. Only the first 400 characters of a name are looked at."""
    text = name[:400]
    for family, pattern in _compiled():
        if pattern.search(text):
            return family
    return OTHER
