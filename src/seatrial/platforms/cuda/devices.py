"""`nvidia-smi` in its CSV form: one row per GPU and one per compute process, with a header that names the columns.

Columns as `nvidia-smi --help-query-gpu` and `--help-query-compute-apps` list them; the unit is in the header.
"""

from __future__ import annotations

import csv
import io

from seatrial.platforms.device_tool import (
    DeviceReading,
    DeviceState,
    Holder,
    VersionFile,
    number,
    unknown_output,
)

TOOL = "nvidia-smi"
COMMANDS: tuple[tuple[str, ...], ...] = (
    (TOOL, "--query-gpu=index,uuid,name,driver_version,memory.used,memory.total,utilization.gpu", "--format=csv"),
    (TOOL, "--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv"),
)
VERSION_FILES: tuple[VersionFile, ...] = ()


def read(texts: tuple[str, ...]) -> DeviceReading:
    """From the two outputs of `COMMANDS`, in their order."""
    if len(texts) != len(COMMANDS):
        raise unknown_output(TOOL, f"{len(texts)} outputs where {len(COMMANDS)} were expected")
    rows = _rows(texts[0], ("index", "uuid", "memory.used", "memory.total"))
    devices = []
    place: dict[str, int] = {}
    for row in rows:
        index = number(row["index"])
        if index is None:
            raise unknown_output(TOOL, f"a GPU's index is {row['index']!r}")
        place[row["uuid"]] = index
        devices.append(
            DeviceState(
                index=index,
                label=f"GPU {index}",
                name=row.get("name", ""),
                used_mib=number(row["memory.used"]),
                total_mib=number(row["memory.total"]),
                busy_percent=number(row.get("utilization.gpu", "")),
                uuid=row["uuid"],
            )
        )
    holders = []
    for row in _rows(texts[1], ("gpu_uuid", "pid", "used_gpu_memory")):
        pid, index = number(row["pid"]), place.get(row["gpu_uuid"])
        if pid is None or index is None:
            raise unknown_output(TOOL, f"a process is on {row['gpu_uuid']!r} with id {row['pid']!r}")
        name = row.get("process_name", "")
        holders.append(Holder(index=index, pid=pid, name=name, memory_mib=number(row["used_gpu_memory"])))
    version = rows[0].get("driver_version", "") if rows else ""
    return DeviceReading(tool=TOOL, version=version, devices=tuple(devices), holders=tuple(holders))


def _rows(text: str, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        lines = list(csv.reader(io.StringIO(text.strip()), skipinitialspace=True))
    except csv.Error as exc:
        raise unknown_output(TOOL, f"no CSV: {exc}") from exc
    header = [name.split(" [")[0].strip() for name in lines[0]] if lines else []
    missing = [name for name in wanted if name not in header]
    if missing:
        raise unknown_output(TOOL, f"no column {missing[0]} in {' '.join(text.split())[:80]!r}")
    rows = []
    for line in lines[1:]:
        if len(line) != len(header):
            raise unknown_output(TOOL, f"{len(line)} values for {len(header)} columns: {line}")
        rows.append({name: value.strip() for name, value in zip(header, line, strict=True)})
    return rows
