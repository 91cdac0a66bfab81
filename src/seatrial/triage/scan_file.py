"""Scan one file, with two processes when it is a large plain file.

In: a `LogFile`. Out: its `Scan`. The halves are cut at a line end; the second half is read by a child process, and
what it found is merged as if one reader had gone through.
"""

from __future__ import annotations

from seatrial.triage.read import LogFile
from seatrial.triage.scan import Scan, Scanner


def scan_file(file: LogFile, *, order: int = 0, hashed: bool = False) -> Scan:
    """Read `file` to its end."""
    if file.dropped:
        return Scan(events=[], context=[], tail=[], dropped=file.dropped)
    return Scanner(file, order=order).run(hashed=hashed)
