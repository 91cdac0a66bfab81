"""`operator_details.csv` of torch_npu: a row for every operator call; the columns say host and device time, in us."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.measure.profile.vendor.rows import nanoseconds, rows
from seatrial.measure.profile.vendor.tables import HostOperator, VendorTables

HOST, DEVICE = "hostselfduration", "deviceselfduration"


def read(file: Path, tables: VendorTables) -> VendorTables:
    found: dict[str, list[int]] = {}
    for number, row in enumerate(rows(file, ("name", HOST, DEVICE)), 2):
        try:
            spent = nanoseconds(row[HOST]), nanoseconds(row[DEVICE])
        except (ValueError, KeyError) as exc:
            raise FileFormatError(f"{file.name}, row {number}: {exc}", mend="Export the profile again.") from exc
        so_far = found.setdefault(row["name"], [0, 0, 0])
        so_far[0] += 1
        so_far[1] += spent[0]
        so_far[2] += spent[1]
    operators = tuple(
        HostOperator(name=name, calls=calls, host_self_ns=host, device_self_ns=device)
        for name, (calls, host, device) in sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    )
    return replace(tables, host_operators=operators, sources=(*tables.sources, str(file)))
