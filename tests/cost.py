"""What a call costs, in turns of an empty loop: the same on a fast machine and a slow one, busy or not."""

from __future__ import annotations

import time
from collections.abc import Callable

from seatrial.core.collector import without_collector

MILLION = 1_000_000


def loop_s() -> float:
    """Processor seconds that a million turns of an empty loop take this process here and now."""
    began = time.process_time()
    for _ in range(MILLION):
        pass
    return time.process_time() - began


def million_turns(act: Callable[[], object]) -> float:
    """Processor time of `act` (all threads of this process, none of its children) in that of a million turns.

    Waiting costs nothing, and neither does a stall. What shares the caches makes both dearer: a limit of some times the
    usual cost holds on any machine, and a step that grows with the square goes beyond it all the same.
    """
    before = loop_s()
    began = time.process_time()
    # A full collection walks all that thousands of tests have left in this process: it is not the step's cost.
    with without_collector():
        act()
    spent = time.process_time() - began
    return spent / max(before, loop_s(), 1e-9)
