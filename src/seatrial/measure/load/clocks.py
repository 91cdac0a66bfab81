"""The wall clock beside the monotonic one, read so that a process that lost its core is not taken for a clock set."""

from __future__ import annotations

import time

from seatrial.core.record import Record

# Wall and monotonic clocks may drift by NTP's slewing (500 ppm); beyond that somebody set the clock.
CLOCK_STEP_S, CLOCK_SLEW = 0.05, 1e-3
CLOSE_S, TRIES = 1e-3, 20  # between two readings of the monotonic clock this near, the wall clock is known well enough


class Clocks(Record):
    """Seconds: the wall clock was `wall` at some time between `monotonic` and `monotonic + within`."""

    wall: float
    monotonic: float
    within: float


def read_clocks() -> Clocks:
    """Both clocks, the nearest to each other of a few readings; the first that is near enough."""
    best = _once()
    for _ in range(TRIES):
        if best.within < CLOSE_S:
            break
        best = min(best, _once(), key=lambda read: read.within)
    return best


def _once() -> Clocks:
    before, wall, after = time.monotonic(), time.time(), time.monotonic()
    return Clocks(wall=wall, monotonic=before, within=after - before)


def step_between(first: Clocks, last: Clocks) -> float:
    """By how much the wall clock left the monotonic one, in seconds."""
    return (last.wall - first.wall) - (last.monotonic - first.monotonic)


def was_set(first: Clocks, last: Clocks) -> bool:
    """Is the step more than drift, and more than what the readings leave open?"""
    span = last.monotonic - first.monotonic
    return abs(step_between(first, last)) > CLOCK_STEP_S + CLOCK_SLEW * span + first.within + last.within
