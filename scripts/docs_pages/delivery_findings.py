"""docs/delivery-findings.md: the codes of `deliver`, `deliver --check` and `verify`."""

from __future__ import annotations

from seatrial.delivery.codes import page as page

PAGE = "delivery-findings.md"
