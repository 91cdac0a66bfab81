"""What real runs taught about a target: kept in one file that anybody can read and delete; nothing is learnt silently.

In: readings of a log beside the estimate. Out: `Calibration`. The file is `calibration.json` where the caller keeps it;
`forget` removes a target's entry. A calibration says from which run each figure comes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_json, to_json


class Learnt(Record):
    """A factor or an amount of bytes, and the run it was learnt from."""

    value: float
    note: str


class Calibration(Record):
    """`activations` is a factor on the formula; `graphs` and `runtime` are bytes per device."""

    activations: Learnt | None = None
    graphs: Learnt | None = None
    runtime: Learnt | None = None


class CalibrationFile(Record):
    """By target name."""

    schema_version: int = 1
    targets: dict[str, Calibration] = msgspec.field(default_factory=dict)


def load_calibration(file: Path, target: str) -> Calibration:
    """The target's entry; an empty one where the file or the entry is absent."""
    return _read(file).targets.get(target, Calibration())


def keep_calibration(file: Path, target: str, calibration: Calibration) -> None:
    """Write the target's entry, leaving the others."""
    targets = dict(_read(file).targets)
    targets[target] = calibration
    write_atomic(file, to_json(CalibrationFile(targets=targets), indent=2))


def forget_calibration(file: Path, target: str) -> bool:
    """Remove the target's entry; whether there was one."""
    targets = dict(_read(file).targets)
    if target not in targets:
        return False
    del targets[target]
    write_atomic(file, to_json(CalibrationFile(targets=targets), indent=2))
    return True


def _read(file: Path) -> CalibrationFile:
    if not file.is_file():
        return CalibrationFile()
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise FileFormatError(
            f"{file}: cannot be read: {exc.strerror}", mend="Name another --calibration file."
        ) from exc
    return from_json(CalibrationFile, data, where=str(file))
