"""What runs a checkpoint: the engine's registry, whose class it is, and the case of an adaptation."""

from seatrial.support.case import Case, CaseDecision
from seatrial.support.engine_registry import ArchitectureState, PluginState, RegistryAnswer
from seatrial.support.facts import SupportFacts
from seatrial.support.step import support

__all__ = [
    "ArchitectureState",
    "Case",
    "CaseDecision",
    "PluginState",
    "RegistryAnswer",
    "SupportFacts",
    "support",
]
