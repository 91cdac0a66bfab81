"""Which attention backend is in effect, as the engine says it."""

from __future__ import annotations

from typing import Literal

from seatrial.gates.features.base import Feature, Line, Model


class AttentionBackend(Feature):
    name = "attention-backend"
    title = "Attention backend in effect"
    positive = (
        Line(pattern=r"Using \S+ attention backend", source=" attention backend"),
        Line(pattern=r"Using \S*(?:ATTN|MLA)\S* backend", source="Using %s backend."),
        Line(pattern=r"Using FL Attention backend", source="Using FL Attention backend"),
    )

    def absence(self, model: Model) -> Literal["unsupported", "inconclusive"]:
        return "inconclusive"  # some platforms choose without a word


FEATURE = AttentionBackend()
