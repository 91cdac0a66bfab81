"""The first cause of a failure, from any serving log. The only door of this folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO

from seatrial.triage import deaths
from seatrial.triage.answer import Material
from seatrial.triage.categories import CATEGORIES, UNKNOWN
from seatrial.triage.judge import Reading, consider, judge
from seatrial.triage.read import LogFile, gather
from seatrial.triage.record import (
    Candidate,
    Death,
    Diagnosis,
    FirstCause,
    Frame,
    Mention,
    Past,
    PastIncident,
    SourceNote,
)
from seatrial.triage.scan import Scan
from seatrial.triage.signature import Kind, Library, Signature, Tier
from seatrial.triage.signatures import by_family, library
from seatrial.triage.split import scan_file

__all__ = [
    "CATEGORIES", "UNKNOWN", "Candidate", "Death", "Diagnosis", "FirstCause", "Frame", "Kind", "Library", "Mention",
    "Past", "PastIncident", "Signature", "SourceNote", "Tier", "by_family", "diagnose", "diagnose_text", "library",
    "reading",
]  # fmt: skip


def diagnose(
    sources: Iterable[Path | str | LogFile | IO[bytes]],
    *,
    exit_codes: Mapping[str, int] | None = None,
    signatures: Library | None = None,
    hashed: bool = False,
) -> Diagnosis:
    """Triage one failure from its logs.

    `sources`: paths of files or folders, open binary streams, or a `LogFile` (a name to show and where its bytes lie).
    `exit_codes`: process name to exit code as `subprocess` reports it (negative for a signal), where the caller knows
    them. `hashed` adds each file's sha256. Other `signatures` than the package's own answer alone: the second opinion
    (likeness.py) was learned beside the package's.
    Raises UsageError for a path that does not exist; everything else about the input is part of the answer.
    """
    return judge(_material(sources, exit_codes, hashed), signatures or library(), second_opinion=signatures is None)


def reading(sources: Iterable[Path | str | LogFile | IO[bytes]]) -> Reading:
    """What `diagnose` decides from; for the bench that learns the second opinion's table."""
    return consider(_material(sources, None, hashed=False), library())


def _material(
    sources: Iterable[Path | str | LogFile | IO[bytes]], exit_codes: Mapping[str, int] | None, hashed: bool
) -> Material:
    files: list[LogFile] = []
    for source in sources:
        if isinstance(source, (str, Path)):
            files.extend(gather([source]))
        elif isinstance(source, LogFile):
            files.append(source)
        else:
            files.append(LogFile("-", stream=source))
    _drop_twins(files)
    scans = [(f, scan_file(f, order=i, hashed=hashed)) for i, f in enumerate(files)]
    _name_bare_pids(scans)
    return Material(
        events=[e for _, s in scans for e in s.events],
        context="\n".join(line for _, s in scans for line in s.context),
        ready=any(s.ready for _, s in scans),
        requests=sum(s.requests for _, s in scans),
        exits=deaths.given(exit_codes),
        plain=[(f.name, n, text) for f, s in scans for n, text in s.plain],
        sources=tuple(_note(f, s) for f, s in scans),
        several_files=sum(1 for _, s in scans if s.events) > 1,
    )


def _drop_twins(files: Iterable[LogFile]) -> None:
    """A file that was named twice, or lies in a folder that was named too, is read once."""
    seen: dict[tuple[int, int], LogFile] = {}
    for file in files:
        if file.path is None or file.dropped:
            continue
        try:
            status = file.path.stat()
        except OSError:
            continue  # the reader meets the same error and notes it
        first = seen.setdefault((status.st_dev, status.st_ino), file)
        if first is not file and file.path.is_file():
            file.dropped = f"is the same file as {first.name}"


PID = re.compile(r"pid=(\d{1,10})")


def _name_bare_pids(scans: Iterable[tuple[LogFile, Scan]]) -> None:
    """Lines of drivers and libraries (plog, ATB, glog) only know a pid: name it as the engine's own lines do."""
    events = [e for _, s in scans for e in s.events]
    names: dict[str, str] = {}
    for event in events:
        for process in (event.process, *event.processes):
            if not process.startswith("pid=") and (m := PID.search(process)):
                names.setdefault(m[1], process)
    for event in events:
        bare = event.process
        if bare.startswith("pid=") and (name := names.get(bare[4:])):
            event.process = name
            event.processes = [name if p == bare else p for p in event.processes]


def diagnose_text(text: str, *, exit_codes: Mapping[str, int] | None = None) -> Diagnosis:
    """`diagnose` for a log that is already in memory."""
    return diagnose([BytesIO(text.encode("utf-8", "surrogatepass"))], exit_codes=exit_codes)


def _note(file: LogFile, scan: Scan) -> SourceNote:
    dropped = scan.dropped
    if scan.overflow:
        dropped = (
            dropped + "; " if dropped else ""
        ) + f"{scan.overflow} distinct lines beyond the limit were not judged"
    return SourceNote(file=file.name, size=scan.size, lines=scan.lines, sha256=scan.sha256, dropped=dropped)
