"""Python packages as text: from a source tree, an sdist, a wheel or an installed environment. Nothing is executed."""

from seatrial.support.source.distributions import Distribution, EntryPoint
from seatrial.support.source.opening import open_source
from seatrial.support.source.tree import SourceTree, Trees

__all__ = ["Distribution", "EntryPoint", "SourceTree", "Trees", "open_source"]
