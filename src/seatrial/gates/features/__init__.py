"""The features of the matrix, one file each; this is the door. A file that does not load is an error, never a skip."""

from __future__ import annotations

import importlib
from pathlib import Path

from seatrial.core.registry import Registry
from seatrial.gates.features.base import Feature

NOT_FEATURES = {"__init__", "base"}


def features() -> Registry[Feature]:
    """All features by name, in the order of their files' names."""
    found: Registry[Feature] = Registry("feature")
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.stem not in NOT_FEATURES:
            feature: Feature = importlib.import_module(f"seatrial.gates.features.{file.stem}").FEATURE
            found.add(feature.name, feature)
    return found
