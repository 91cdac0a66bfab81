"""The thresholds of `thresholds.toml`, or of a file of the user's in the same form."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = Path(__file__).with_name("thresholds.toml")


class BottleneckLimits(Record):
    host: float
    communication: float
    compute: float
    memory: float


class FuseLimits(Record):
    longest_gap_us: float


class Sanity(Record):
    farthest_s: float
    median_kernel_least_ns: int
    median_kernel_most_ns: int


class RankLimits(Record):
    clock_offset_us: float
    last_share: float


class Thresholds(Record):
    bottleneck: BottleneckLimits
    fuse: FuseLimits
    sanity: Sanity
    ranks: RankLimits


@cache
def load_thresholds(file: Path = DEFAULT) -> Thresholds:
    """Raises FileFormatError, which names the file and the key."""
    try:
        data = tomllib.loads(read_plain(file).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise FileFormatError(f"{file}: {exc}", mend="Start from the thresholds.toml that seatrial ships.") from exc
    return from_plain(Thresholds, data, where=str(file))
