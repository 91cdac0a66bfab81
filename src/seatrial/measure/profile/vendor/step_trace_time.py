"""`step_trace_time.csv` of torch_npu: computing, communication and free time per step; microseconds."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.measure.profile.vendor.rows import nanoseconds, optional_ns, rows, whole
from seatrial.measure.profile.vendor.tables import StepTrace, VendorTables

EXPOSED = "communication(notoverlapped)"


def read(file: Path, tables: VendorTables) -> VendorTables:
    found = []
    for number, row in enumerate(rows(file, ("step", "computing", EXPOSED, "free")), 2):
        try:
            found.append(
                StepTrace(
                    device=whole(row.get("deviceid", ""), 0),
                    step=row["step"],
                    computing_ns=nanoseconds(row["computing"]),
                    exposed_ns=nanoseconds(row[EXPOSED]),
                    overlapped_ns=optional_ns(row, "overlapped"),
                    free_ns=nanoseconds(row["free"]),
                    stage_ns=optional_ns(row, "stage"),
                    bubble_ns=optional_ns(row, "bubble"),
                    preparing_ns=optional_ns(row, "preparing"),
                )
            )
        except (ValueError, KeyError) as exc:
            raise FileFormatError(f"{file.name}, line {number}: {exc}", mend="Export the profile again.") from exc
    return replace(tables, steps=(*tables.steps, *found), sources=(*tables.sources, str(file)))
