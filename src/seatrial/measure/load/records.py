"""What is kept of every request, and the file it is kept in while the run goes on.

Times are seconds since the run's origin on one monotonic clock. A file that a kill left half written is read up to its
last whole line.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_json, to_json

How = Literal["ok", "refused", "cut", "http-error", "stream-error", "empty", "timed-out", "stopped"]
LARGEST_LINE = 64 << 20


class RequestRecord(Record):
    """One request. Only `ok` counts as answered.

    `intended_s` is when it was due (open loop) or when its place became free (closed loop), `sent_s` when its bytes
    were handed over; latency runs from the first, so a client or server that falls behind cannot hide it. `chunks_s`
    holds the arrival of every piece that carried text; `first_s` is the first of them (None without a stream).
    `output_tokens` is the server's own count, None if it gave none. `sent_tokens` is the prompt's length as it was
    made, where that is exact, beside the server's own count in `prompt_tokens`.
    """

    index: int
    warmup: bool
    intended_s: float
    sent_s: float | None
    first_s: float | None
    end_s: float
    chunks_s: tuple[float, ...]
    prompt_tokens: int | None
    output_tokens: int | None
    asked_tokens: int
    how: How
    status: int | None = None
    finish_reason: str = ""
    error: str = ""
    resent: bool = False
    sent_tokens: int | None = None


class Sink:
    """Appends records to a file as they come, each handed to the system at once: a kill loses none that was added.

    An OSError (full disk) reaches the caller, with at most half a line of the failing record in the file.
    """

    def __init__(self, file: Path) -> None:
        self._stream = file.open("wb", buffering=0)

    def add(self, record: RequestRecord) -> None:
        line = to_json(record) + b"\n"
        if (written := self._stream.write(line)) < len(line):
            # The rest says why the first part was all that fitted.
            self._stream.write(line[written:])

    def close(self) -> None:
        self._stream.close()


class Kept(Record):
    """Records read back; `torn` says that the file ends in half a line."""

    records: tuple[RequestRecord, ...]
    torn: bool


def read_requests(file: Path) -> Kept:
    """Read a file of records; raises FileFormatError for a line that is none, naming it."""
    found: list[RequestRecord] = []
    try:
        with file.open("rb") as stream:
            while line := stream.readline(LARGEST_LINE):
                if not line.endswith(b"\n"):
                    return Kept(records=tuple(found), torn=True)
                found.append(from_json(RequestRecord, line, where=f"{file} line {len(found) + 1}"))
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}") from exc
    return Kept(records=tuple(found), torn=False)


def impossible(record: RequestRecord) -> str:
    """Why the record's times cannot be: a clock that jumped, or a file put together by hand. Empty if they can."""
    times = [record.intended_s, record.sent_s, *record.chunks_s, record.end_s]
    known = [t for t in times if t is not None]
    if any(later < earlier for earlier, later in pairwise(known)):
        return f"request {record.index}: its times run backwards"
    if record.first_s is not None and record.chunks_s and record.first_s != record.chunks_s[0]:
        return f"request {record.index}: its first token is not its first piece"
    return ""
