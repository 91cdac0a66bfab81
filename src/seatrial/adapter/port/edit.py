"""One edit of a port: what stood there, what stands there now, and why."""

from __future__ import annotations

from typing import Literal

from seatrial.core.record import Record


class Edit(Record):
    """`old` and `new` are `module.name` (or `module`; for a device, an expression). An edit that could not be made has
    no `new`, and says why."""

    kind: Literal["absolute", "swap", "moved", "device", "not swapped", "not found"]
    line: int
    old: str
    new: str = ""
    reason: str = ""
