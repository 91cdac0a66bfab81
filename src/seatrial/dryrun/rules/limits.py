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
    "was called on seatrial's stub",
)


def is_gap(failure: RawFailure) -> bool:
    """About what seatrial's stubs or this environment lack: neither the model's fault nor the plugin's."""
    return bool(failure.stub or failure.absent)


def is_limit(failure: RawFailure) -> bool:
    """Whether the dry run, not the model, is at fault."""
    return (
        is_gap(failure)
        or any(mark in failure.message for mark in MARKS)
        or failure.type.endswith("DataDependentOutputException")
    )
