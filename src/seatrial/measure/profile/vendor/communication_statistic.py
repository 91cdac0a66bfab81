"""`communication_statistic_*.csv` of msprof: calls and time per kind of collective."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.measure.profile.vendor.rows import nanoseconds, rows, whole
from seatrial.measure.profile.vendor.tables import CollectiveTotal, VendorTables


def read(file: Path, tables: VendorTables) -> VendorTables:
    found = []
    for number, row in enumerate(rows(file, ("optype", "count", "totaltime")), 2):
        try:
            found.append(
                CollectiveTotal(
                    device=whole(row.get("deviceid", ""), 0),
                    type=row["optype"],
                    calls=int(row["count"]),
                    total_ns=nanoseconds(row["totaltime"]),
                )
            )
        except (ValueError, KeyError) as exc:
            raise FileFormatError(f"{file.name}, line {number}: {exc}", mend="Export the profile again.") from exc
    return replace(tables, collectives=(*tables.collectives, *found), sources=(*tables.sources, str(file)))
