"""A wake-up that is exact to some 50 µs.

asyncio's own timers wait in whole milliseconds (epoll's unit), which would add up to one to every latency of an open
loop. Linux: timerfd; elsewhere asyncio's timers, and `exact` is false.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable


class _Spec(ctypes.Structure):
    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long))


CLOCK_MONOTONIC, NONBLOCK, CLOEXEC, ABSOLUTE = 1, 0o4000, 0o2000000, 1


class Timer:
    """Calls `wake` at the times given to `set`, on `time.monotonic()`'s clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop, self._wake = loop, wake
        self._handle = -1
        self._soft: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        if self._libc is not None and hasattr(self._libc, "timerfd_create"):
            self._handle = self._libc.timerfd_create(CLOCK_MONOTONIC, NONBLOCK | CLOEXEC)
        if self._handle >= 0:
            loop.add_reader(self._handle, self._rang)

    @property
    def exact(self) -> bool:
        return self._handle >= 0

    def set(self, at: float) -> None:
        """Wake at `at`; a time that has passed wakes at once."""
        if self._handle < 0 or self._libc is None:
            self._soft = self._loop.call_at(at, self._wake)
            return
        # Zero would disarm the timer.
        whole = max(1, int(at * 1e9))
        spec = _Spec(0, 0, whole // 10**9, whole % 10**9)
        self._libc.timerfd_settime(self._handle, ABSOLUTE, ctypes.byref(spec), None)

    def close(self) -> None:
        if self._soft is not None:
            self._soft.cancel()
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def _rang(self) -> None:
        try:
            os.read(self._handle, 8)
        except BlockingIOError:
            return
        self._wake()
