"""The totals that Ascend's tools write beside their events, one file per table; which file names each reader takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seatrial.measure.profile.vendor import (
    collective_times,
    communication_statistic,
    op_statistic,
    operator_details,
    step_trace_time,
)
from seatrial.measure.profile.vendor.tables import VendorTables


@dataclass(frozen=True, kw_only=True)
class VendorReader:
    """`read` adds what the file says to the tables so far; it raises FileFormatError and OSError."""

    name: re.Pattern[str]
    read: Callable[[Path, VendorTables], VendorTables]


READERS = (
    VendorReader(name=re.compile(r"^op_statistic(_[\w-]*)?\.csv$", re.I), read=op_statistic.read),
    VendorReader(name=re.compile(r"^communication_statistic(_[\w-]*)?\.csv$", re.I), read=communication_statistic.read),
    VendorReader(name=re.compile(r"^step_trace_time\.csv$", re.I), read=step_trace_time.read),
    VendorReader(name=re.compile(r"^communication\.json$", re.I), read=collective_times.read),
    VendorReader(name=re.compile(r"^operator_details\.csv$", re.I), read=operator_details.read),
)


def is_vendor_table(name: str) -> bool:
    """Whether a reader here takes a file of that name."""
    return any(reader.name.search(name) for reader in READERS)
