"""Video: as images, for models whose config declares it; a short sequence of frames made on the spot."""

from __future__ import annotations

from seatrial.gates.features.multimodal import Media


class Video(Media):
    name = "video"
    title = "Video"
    medium = "video"


FEATURE = Video()
