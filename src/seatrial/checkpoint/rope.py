"""Positions: rope's base, the part of a head it turns, and its scaling; both spellings of transformers."""

from __future__ import annotations

import msgspec

from seatrial.checkpoint.config import View
from seatrial.core.record import Record


class RopeKind(Record):
    """Rope of one kind of layer. `kind` is transformers' rope_type ("default", "yarn", "llama3", …)."""

    kind: str
    theta: float | None = None
    partial: float | None = None
    factor: float | None = None
    original_context: int | None = None
    sections: tuple[int, ...] = ()


class Rope(Record):
    """`kinds` by layer type ("all" where there is one for all); empty: no field of rope (ALiBi, learned, none)."""

    kinds: dict[str, RopeKind] = msgspec.field(default_factory=dict)
    rotary_dim: int | None = None


def read_rope(text: View) -> Rope:
    """`rope_parameters` (transformers 5, possibly per layer type), else `rope_scaling` and `rope_theta` (4)."""
    if isinstance(text.data.get("rope_theta"), list):
        return Rope(kinds=_by_layer(text))
    theta = text.number("rope.theta", "rope_theta", "rotary_emb_base", "rope_base")
    partial = text.number("rope.partial", "partial_rotary_factor", "rotary_pct", "rope_pct")
    kinds: dict[str, RopeKind] = {}
    written = text.section("rope_parameters")
    scaling = text.section("rope_scaling")
    source = written or scaling
    if source is not None and source.data and all(isinstance(v, dict) for v in source.data.values()):
        for key in list(source.data)[:20]:
            if (part := source.section(key)) is not None:
                kinds[key] = _kind(part, theta, partial)
    elif source is not None:
        kinds["all"] = _kind(source, theta, partial)
    elif theta is not None:
        kinds["all"] = RopeKind(kind="default", theta=theta, partial=partial)
    local = text.number("rope.local_theta", "rope_local_base_freq")
    if local is not None:
        kinds["sliding_attention"] = RopeKind(kind="default", theta=local)
    compressed = text.number("rope.compressed_theta", "compress_rope_theta")
    if compressed is not None:
        kinds["compressed"] = RopeKind(kind="default", theta=compressed)
    text.number("rope.swa_theta", "swa_rope_theta")
    return Rope(kinds=kinds, rotary_dim=text.whole("rope.rotary_dim", "rotary_dim"))


def _by_layer(text: View) -> dict[str, RopeKind]:
    """Step-3.5: a base and a part per layer, told apart by `layer_types`; scaling for the types it names alone."""
    thetas = text.numbers("rope.theta", "rope_theta") or ()
    partials = text.numbers("rope.partial", "partial_rotary_factors") or ()
    types = text.texts("rope.types", "layer_types") or ()
    scaling = text.section("rope_parameters", "rope_scaling")
    scaled = text.texts("rope.scaled", "yarn_only_types")
    kinds: dict[str, RopeKind] = {}
    for i, theta in enumerate(thetas):
        name = types[i] if i < len(types) else "all"
        if name in kinds:
            continue
        partial = partials[i] if i < len(partials) else None
        if scaling is not None and (scaled is None or name in scaled):
            kinds[name] = msgspec.structs.replace(_kind(scaling, theta, partial), theta=theta)  # type: ignore[type-var]
        else:
            kinds[name] = RopeKind(kind="default", theta=theta, partial=partial)
    return kinds


def _kind(part: View, theta: float | None, partial: float | None) -> RopeKind:
    own_theta = part.number("rope.theta", "rope_theta")
    own_partial = part.number("rope.partial", "partial_rotary_factor")
    return RopeKind(
        kind=part.text("rope.kind", "rope_type", "type") or "default",
        theta=theta if own_theta is None else own_theta,
        partial=partial if own_partial is None else own_partial,
        factor=part.number("rope.factor", "factor"),
        original_context=part.whole("rope.original_context", "original_max_position_embeddings"),
        sections=part.wholes("rope.sections", "mrope_section") or (),
    )
