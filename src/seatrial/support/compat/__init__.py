"""The compatibility meter: does a plugin's source fit a vLLM's source? Both are read, neither is imported."""

from seatrial.support.compat.records import ArchitectureImpact, CompatReport, Counts, Hit
from seatrial.support.compat.run import compat

__all__ = ["ArchitectureImpact", "CompatReport", "Counts", "Hit", "compat"]
