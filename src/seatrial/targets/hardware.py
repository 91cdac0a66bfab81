"""Hardware: one TOML file per device under `hardware/`, every number with its public source and date.

In: a name. Out: `Hardware`. A number that no public source states is unknown and says so; nothing is filled in.
Refuses unknown names (with the known ones), unknown keys and numbers without a source, naming file and key.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.quantity import Quantity
from seatrial.core.record import Record, from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "hardware"
DTYPES = ("bf16", "fp16", "fp8", "int8", "fp4", "fp32")


class Hardware(Record):
    """One device as the runtime counts it (a die, where a card has two).

    `memory` in bytes; `memory_bandwidth`, `link_bandwidth` (one direction, within a server) and `network_bandwidth`
    (one direction, between servers) in bytes per second and device; `peak` by dtype in operations per second, dense.
    `devices_per_card` and `devices_per_server` as the runtime counts devices. `counted` says what one device is.
    """

    schema_version: int
    name: str
    description: str
    platform: str
    counted: str
    memory: Quantity
    memory_bandwidth: Quantity
    link_bandwidth: Quantity
    network_bandwidth: Quantity
    devices_per_card: Quantity
    devices_per_server: Quantity
    peak: dict[str, Quantity]
    measured: dict[str, Quantity] = msgspec.field(default_factory=dict)


def hardware_names() -> list[str]:
    """All built-in devices, sorted."""
    return sorted(f.stem for f in FOLDER.glob("*.toml"))


def load_hardware(name: str) -> Hardware:
    """The device `name`, or the TOML file it names; raises UsageError or FileFormatError."""
    file = FOLDER / f"{name}.toml"
    if not file.is_file() and name.endswith(".toml"):
        file = Path(name)
    if not file.is_file() or (file.parent == FOLDER and "/" in name):
        raise UsageError(f"unknown hardware {name!r}", mend=f"Known: {', '.join(hardware_names())}; or a .toml file.")
    try:
        data: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise FileFormatError(f"{file}: not valid TOML: {exc}") from exc
    data.setdefault("name", file.stem)
    source = data.pop("source", "")
    peak = data.get("peak")
    if isinstance(peak, dict):
        wrong = sorted(set(peak) - set(DTYPES))
        if wrong:
            raise FileFormatError(f"{file}: peak.{wrong[0]}: no known dtype", mend=f"Known: {', '.join(DTYPES)}.")
        data["peak"] = {k: _quantity(v, source, f"{file}: peak.{k}") for k, v in peak.items()}
    for key, value in list(data.items()):
        if isinstance(value, dict) and "unit" in value:
            data[key] = _quantity(value, source, f"{file}: {key}")
    measured = data.get("measured")
    if isinstance(measured, dict):
        data["measured"] = {k: _quantity(v, source, f"{file}: measured.{k}") for k, v in measured.items()}
    found = from_plain(Hardware, data, where=str(file))
    if found.schema_version != 1:
        raise FileFormatError(f"{file}: schema_version is {found.schema_version}, this seatrial reads 1")
    return found


def _quantity(value: Any, source: str, where: str) -> Any:
    """A number without a note takes the file's source, one with `cite` that instead; one without any is refused."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    source = value.pop("cite", source)
    if value.get("source") == "unknown":
        return {"value": None, **value}
    note = value.get("note", "")
    if value.get("source") not in ("measured", "derived"):
        note = f"{note}; {source}" if note and source else note or source
    if not note:
        raise FileFormatError(f"{where}: has no source", mend="Give it a note with source and date.")
    return {"source": "declared", **value, "note": note}
