"""`communication.json` of torch_npu: what every collective's time went into, and what every transport carried.

Step → `p2p` or `collective` → name@group → times in ms and, per transport, MB (10^6 bytes) and ms. "Total Op Info" is
the sum of the others and is left out, or all would count twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.measure.profile.vendor.rows import nanoseconds
from seatrial.measure.profile.vendor.tables import CollectiveTime, Link, VendorTables

LARGEST = 1 << 29
TIMES = ("Elapse Time(ms)", "Transit Time(ms)", "Wait Time(ms)", "Synchronization Time(ms)", "Idle Time(ms)")


def read(file: Path, tables: VendorTables) -> VendorTables:
    if file.stat().st_size > LARGEST:
        raise FileFormatError(f"{file.name} is over {LARGEST >> 20} MiB", mend="Profile fewer steps.")
    try:
        document = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{file.name}: {exc}", mend="Export the profile again.") from exc
    calls: dict[str, int] = {}
    times: dict[str, list[int]] = {}
    links: dict[str, list[int]] = {}
    for operator, said in _operators(document):
        kind = operator.split("@")[0].split("__")[0]
        try:
            spent = [nanoseconds(_of(said, "Communication Time Info")[name], 6) for name in TIMES]
            carried = {
                transport: (nanoseconds(info["Transit Size(MB)"], 6), nanoseconds(info["Transit Time(ms)"], 6))
                for transport, info in _of(said, "Communication Bandwidth Info").items()
                if isinstance(info, dict) and "Transit Size(MB)" in info and "Transit Time(ms)" in info
            }
        except (ValueError, KeyError) as exc:
            raise FileFormatError(f"{file.name}, {operator}: {exc}", mend="Export the profile again.") from exc
        calls[kind] = calls.get(kind, 0) + 1
        times[kind] = [a + b for a, b in zip(times.get(kind, [0] * len(TIMES)), spent, strict=True)]
        for transport, (size, spent_ns) in carried.items():
            before = links.setdefault(transport, [0, 0])
            before[0] += size
            before[1] += spent_ns
    return replace(
        tables,
        sources=(*tables.sources, str(file)),
        collective_times=(
            *tables.collective_times,
            *(
                CollectiveTime(
                    type=kind,
                    calls=calls[kind],
                    elapsed_ns=t[0],
                    transit_ns=t[1],
                    wait_ns=t[2],
                    synchronization_ns=t[3],
                    idle_ns=t[4],
                )
                for kind, t in sorted(times.items(), key=lambda item: -item[1][0])
            ),
        ),
        links=(
            *tables.links,
            *(
                Link(transport=name, bytes=size, transit_ns=ns, bandwidth_gb_s=size / ns if ns else None)
                for name, (size, ns) in sorted(links.items())
                if size or ns
            ),
        ),
    )


def _of(value: Any, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _operators(document: Any) -> list[tuple[str, Any]]:
    found = []
    for step in document.values() if isinstance(document, dict) else ():
        for kind in ("p2p", "collective"):
            found += [(name, said) for name, said in _of(step, kind).items() if "total op info" not in name.lower()]
    return found
