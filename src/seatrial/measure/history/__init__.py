"""History: attempts, also failed ones, as cards that can be searched and that say when they were taken back."""

from seatrial.measure.history.card import Card, Flag, promoted
from seatrial.measure.history.dossier import Imported, read_dossier
from seatrial.measure.history.store import Cards, Found

__all__ = ["Card", "Cards", "Flag", "Found", "Imported", "promoted", "read_dossier"]
