"""Targets: TOML files that name an engine, a platform, roots, devices, launch environment, serve arguments, limits."""

from seatrial.targets.load import Located, find_overrides, load_target, target_names
from seatrial.targets.target import Devices, EngineChoice, Launch, Limits, Roots, Serve, Target

__all__ = [
    "Devices",
    "EngineChoice",
    "Launch",
    "Limits",
    "Located",
    "Roots",
    "Serve",
    "Target",
    "find_overrides",
    "load_target",
    "target_names",
]
