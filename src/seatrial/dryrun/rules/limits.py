"""Messages of torch that mean: this needs data, and a meta tensor has none."""

from __future__ import annotations

from seatrial.dryrun.raw import RawFailure

MARKS = (
    "meta tensor",
    "'Meta' backend",
    "Meta backend",
    "on meta",
    "DataDependentOutputException",
    "is on device meta",
)


def is_limit(failure: RawFailure) -> bool:
    return any(mark in failure.message for mark in MARKS) or failure.type.endswith("DataDependentOutputException")
