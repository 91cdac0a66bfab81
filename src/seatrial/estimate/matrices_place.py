"""What the descriptions of image towers share: a field of the tower's section, and one weight with its copies."""

from __future__ import annotations

from typing import Any

from seatrial.estimate.matrices import Matrix, Split
from seatrial.estimate.model import Lacking

# Far above any tower; a count beyond it is a broken file, and one list entry is made of each layer.
MOST_LAYERS = 100_000


def size_of(vision: dict[str, Any], *keys: str) -> int:
    """The first of `keys` that is a positive whole number; raises Lacking."""
    for key in keys:
        value = vision.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise Lacking(f"vision_config.{keys[0]}", "is missing from config.json")


def place(
    module: str,
    rows: int,
    cols: int,
    split: Split = "none",
    layers: int = 0,
    bias: bool = True,
    projector: bool = False,
) -> list[Matrix]:
    """`layers` copies of a plain (never quantised) weight of the tower; every pipeline stage loads it."""
    one = Matrix(
        part="projector" if projector else "vision", module=module, rows=(rows,), cols=cols, split=split, bias=bias,
        tokens="image" if cols > 1 else "none", stage="every", prefix="visual.",
    )  # fmt: skip
    if layers > MOST_LAYERS:
        raise Lacking("vision_config", f"{module}: {layers} layers are no tower")
    return [one] * max(1, layers)
