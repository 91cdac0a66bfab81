"""What every check is given."""

from __future__ import annotations

import re

import msgspec

from seatrial.checkpoint.architecture import Architecture
from seatrial.checkpoint.attention import Attention
from seatrial.checkpoint.components import Part
from seatrial.checkpoint.moe import FeedForward
from seatrial.checkpoint.names import LANGUAGE, Group
from seatrial.checkpoint.quant import Quantization

SUFFIX = re.compile(r"\.(weight|bias|qweight|weight_packed)$")


class Facts(msgspec.Struct, kw_only=True):
    """`known`: "headers" (shapes and dtypes too) or "names" (an index alone).

    `whole`: no shard is missing or unreadable.
    """

    known: str
    whole: bool
    frame: Architecture
    attention: Attention
    ffn: FeedForward
    quantization: Quantization | None
    groups: list[tuple[Part, Group]]

    def language_layers(self) -> list[tuple[str, Group]]:
        """Groups of the language model's layers, each with what follows the layer's number."""
        found = []
        for _, group in self.groups:
            head, star, tail = group.pattern.partition(".*.")
            if star and LANGUAGE.fullmatch(head):
                found.append((tail, group))
        return found


def layer_numbers(group: Group) -> set[int]:
    """The first number of each name (numbers of a thousand digits do not reach this: they are no layer)."""
    first = {row[:1] for row in group.indices}
    return {int(row[0]) for row in first if row and len(row[0]) < 8}
