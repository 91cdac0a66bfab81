"""Audio: as images, for models whose config declares it; a short tone made on the spot."""

from __future__ import annotations

from seatrial.gates.features.multimodal import Media


class Audio(Media):
    name = "audio"
    title = "Audio"
    medium = "audio"


FEATURE = Audio()
