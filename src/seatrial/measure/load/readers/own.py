"""seatrial's own `metrics.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.record import from_plain
from seatrial.measure.load.metrics import SCHEMA_VERSION, Metrics


def knows(file: Path, data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("schema_version"), int) and "tool_version" in data


def read(file: Path, data: Any) -> list[Metrics]:
    metrics = from_plain(Metrics, data, where=str(file))
    if metrics.schema_version != SCHEMA_VERSION:
        raise FileFormatError(
            f"{file}: schema_version is {metrics.schema_version}, this seatrial reads {SCHEMA_VERSION}"
        )
    return [metrics]
