"""What an adaptation changed in a source root, classed by what it serves, and the way back to the recorded commit."""

from seatrial.adapter.changes.classify import KINDS
from seatrial.adapter.changes.read import read_changes
from seatrial.adapter.changes.record import FileChange, Hunk, RootChanges
from seatrial.adapter.changes.reset import Reset, reset

__all__ = ["KINDS", "FileChange", "Hunk", "Reset", "RootChanges", "read_changes", "reset"]
