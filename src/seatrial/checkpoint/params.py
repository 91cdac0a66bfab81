"""How many parameters: counted from the headers, else estimated from the config with the formula beside it.

`stored` is the exact sum of elements over all tensors. `total` is what people mean by "7 billion": scales and zero
points left out, packed 4-bit weights unpacked. `active`: those that one token passes, experts by experts per token.
"""

from __future__ import annotations

import msgspec

from seatrial.checkpoint.components import Part, serves
from seatrial.checkpoint.moe import FeedForward
from seatrial.checkpoint.names import Group
from seatrial.checkpoint.quant import Quantization
from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.core.record import Record


class Parameters(Record):
    """`stored`, `total` and `active` in parameters; `formula` is empty unless they were estimated.

    `total` covers everything in the checkpoint (towers and MTP too); `language` the language model alone.
    """

    stored: Quantity
    total: Quantity
    language: Quantity
    active: Quantity
    mtp: Quantity
    formula: tuple[str, ...] = ()


def unpacked(group: Group, dtype: str, quantization: Quantization | None, four_bit: set[str]) -> int | None:
    """How many parameters the stored elements hold; None where no file says how many bits each has.

    `four_bit`: modules with scales of a 4-bit scheme.
    """
    leaf = group.pattern.rsplit(".", 1)[-1]
    bits = quantization.weight_bits if quantization else None
    if leaf in ("qweight", "weight_packed") and dtype in ("I32", "U32", "I64"):
        return group.elements * (64 if dtype == "I64" else 32) // bits if bits else None
    if dtype in ("U8", "I8") and (leaf.endswith("_blocks") or leaf == "weight_packed"):
        return 2 * group.elements
    if dtype in ("U8", "I8") and leaf in ("weight", "gate_up_proj", "down_proj") and group.pattern in four_bit:
        return 2 * group.elements
    return group.elements


def four_bit_patterns(groups: list[tuple[Part, Group]], expert_dtype: str | None) -> set[str]:
    """Patterns of byte tensors that hold two 4-bit floats: NVFP4 (a second scale), bitsandbytes (its quant state),
    DeepSeek-V4's fp4 experts (the config says so)."""
    names = {group.pattern for _, group in groups}
    found: set[str] = set()
    for part, group in groups:
        if not {"U8", "I8"} & {dtype for dtype, _ in group.kinds}:
            continue
        stem = group.pattern
        module = stem.rsplit(".", 1)[0]
        partners = (
            f"{stem}_scale_2",
            f"{stem}.quant_state.bitsandbytes__nf4",
            f"{stem}.quant_state.bitsandbytes__fp4",
            f"{module}.weights_scaling_factor_2",
        )
        if any(p in names for p in partners) or (expert_dtype == "fp4" and part == "experts"):
            found.add(stem)
    return found


def count(
    groups: list[tuple[Part, Group]],
    ffn: FeedForward,
    quantization: Quantization | None,
    expert_dtype: str | None,
    *,
    whole: bool,
) -> Parameters:
    """From the headers, exactly; without a `whole` set of shards only what is stored in those that could be read."""
    four_bit = four_bit_patterns(groups, expert_dtype)
    stored = 0
    by_part: dict[str, int] = {}
    unclear = ""
    for part, group in groups:
        stored += group.elements
        if serves(group.pattern):
            continue
        dtypes = {dtype for dtype, _ in group.kinds}
        held = unpacked(group, next(iter(dtypes)), quantization, four_bit) if len(dtypes) == 1 else group.elements
        if held is None:
            unclear = unclear or group.pattern
        by_part[part] = by_part.get(part, 0) + (held or 0)
    if unclear and whole:
        exact = Quantity(value=stored, unit="elements", source=Source.MEASURED, note="sum over the shards' headers")
        why = f"{unclear} is packed, and no file says of how many bits all of it is"
        return msgspec.structs.replace(nothing(why), stored=exact)  # type: ignore[type-var]
    if not whole:
        partial = Quantity(
            value=stored, unit="elements", source=Source.MEASURED, note="only the shards that could be read"
        )
        return msgspec.structs.replace(nothing("not every shard could be read"), stored=partial)  # type: ignore[type-var]
    total = sum(by_part.values())
    mtp = by_part.get("mtp", 0)
    towers = sum(by_part.get(p, 0) for p in ("vision", "audio", "projector"))
    language = total - mtp - towers
    note = "sum over the shards' headers; scales left out, packed weights unpacked"
    return Parameters(
        stored=Quantity(value=stored, unit="elements", source=Source.MEASURED, note="sum over the shards' headers"),
        total=Quantity(value=total, unit="parameters", source=Source.MEASURED, note=note),
        language=Quantity(value=language, unit="parameters", source=Source.MEASURED, note="total without towers, MTP"),
        active=_active(language, by_part, ffn),
        mtp=Quantity(value=mtp, unit="parameters", source=Source.MEASURED, note=note),
    )


def _active(language: int, by_part: dict[str, int], ffn: FeedForward) -> Quantity:
    experts = by_part.get("experts", 0)
    if not experts:
        return Quantity(value=language, unit="parameters", source=Source.DERIVED, note="no experts: all of them")
    if ffn.moe is None or not ffn.moe.experts_per_token:
        return unknown("parameters", "there are experts, but no field says how many a token passes")
    share = experts * ffn.moe.experts_per_token // ffn.moe.experts
    text = f"language model with {ffn.moe.experts_per_token} of {ffn.moe.experts} experts; embedding included"
    return Quantity(value=language - experts + share, unit="parameters", source=Source.DERIVED, note=text)


def nothing(why: str) -> Parameters:
    """Neither shards nor a config to estimate from."""
    return Parameters(
        stored=unknown("elements", why), total=unknown("parameters", why), language=unknown("parameters", why),
        active=unknown("parameters", why), mtp=unknown("parameters", why),
    )  # fmt: skip
