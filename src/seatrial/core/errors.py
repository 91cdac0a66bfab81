"""Errors a user can mend. Each is shown as one line, `error: WHAT. MEND`, and ends with its exit code.

Anything that is not a SeatrialError is a fault of the tool and keeps its traceback (exit code 4).
"""

from __future__ import annotations

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_TOOL = 4


class SeatrialError(Exception):
    """A fault of the environment or of the tool's own set-up. `mend` says what to do about it."""

    exit_code: int = EXIT_TOOL

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    def one_line(self) -> str:
        """Message and mend on one line, as the command line shows them."""
        text = " ".join(self.message.split())
        return f"{text.rstrip('.')}. {' '.join(self.mend.split())}" if self.mend else text


class UsageError(SeatrialError):
    """What the user asked for does not exist or contradicts itself."""

    exit_code = EXIT_USAGE


class FileFormatError(SeatrialError):
    """A file (ours or the user's) does not say what its format demands; the message names file and key."""


class EngineError(SeatrialError):
    """An engine's interpreter, its installation or its answer cannot be used."""


class WorkspaceError(SeatrialError):
    """The workspace cannot be read or written."""


class Stopped(BaseException):
    """A signal asked the program to end. A BaseException, so that no step mistakes it for its own failure."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
