"""Is there room left where a server's log is written? A server that dies on a full disk says nothing of the model.

In: a folder. Refuses (WorkspaceError) one whose file system is full.
"""

from __future__ import annotations

import os
from pathlib import Path

from seatrial.core.errors import WorkspaceError

LEAST = 64 << 10  # bytes; a log line, a record and a traceback need more between two looks


def demand_room(folder: Path) -> None:
    """Raise WorkspaceError if hardly anything can be written there any more."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return  # what is wrong with it shows where it is used
    if room.f_bavail * room.f_frsize < LEAST:
        raise WorkspaceError(
            f"the disk of {folder} is full: that the server failed there is no result",
            mend="Free some space there or name another folder.",
        )
