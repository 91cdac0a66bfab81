"""A number that says where it comes from."""

from __future__ import annotations

from enum import Enum

from seatrial.core.record import Record


class Source(str, Enum):
    MEASURED = "measured"
    DERIVED = "derived"
    DECLARED = "declared"
    UNKNOWN = "unknown"


class Quantity(Record):
    """`value` in `unit`, with its source; an unknown one has no value and says why in `note`."""

    value: float | int | None
    unit: str
    source: Source
    note: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.source is Source.UNKNOWN):
            raise ValueError("a quantity has a value exactly when its source is not unknown")
        if self.source is Source.UNKNOWN and not self.note:
            raise ValueError("an unknown quantity says why in its note")


def unknown(unit: str, why: str) -> Quantity:
    return Quantity(value=None, unit=unit, source=Source.UNKNOWN, note=why)


def measured(value: float) -> str:
    """A measured figure to four digits; from a thousand on to the whole, without an exponent of ten."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
