"""The last answer about a trace, kept beside it, so that asking again costs a fraction of a second.

`TRACE.seatrial.json` holds the report and the key it answers: the files as they are, the options, and the code that
answered. Needs no numpy. A key that differs in anything is no answer; a file that cannot be written is no error.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.atomic import write_atomic
from seatrial.core.record import Record, to_json
from seatrial.measure.profile.records import ProfileReport

EDGE = 1 << 16
# Folders of captures are small in number of files; beyond this the key would cost more than it saves.
MOST_FILES = 2000


class Answer(Record):
    """The file's content."""

    key: str
    report: ProfileReport


def answer_file(first: Path) -> Path:
    # Resolved, because `.` has no name to put anything beside.
    first = first.resolve()
    return first.with_name(first.name + ".seatrial.json")


def key(paths: tuple[Path, ...], options: Any) -> str:
    """What the answer depends on; empty if the paths cannot be looked at."""
    digest = hashlib.sha256(repr(options).encode("utf-8", "replace"))
    try:
        for file in sorted(Path(__file__).parent.rglob("*.py")):
            state = file.stat()
            digest.update(f"{file.name} {state.st_size} {state.st_mtime_ns}".encode())
        files = [f for path in paths for f in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        files = [f for f in files if f.is_file() and ".seatrial." not in f.name]
        if len(files) > MOST_FILES:
            return ""
        for file in files:
            state = file.stat()
            digest.update(f"{file} {state.st_size} {state.st_mtime_ns}".encode("utf-8", "replace"))
            with file.open("rb") as stream:
                digest.update(stream.read(EDGE))
                stream.seek(max(0, state.st_size - EDGE))
                digest.update(stream.read(EDGE))
    except OSError:
        return ""
    return digest.hexdigest()


def load(paths: tuple[Path, ...], wanted: str) -> ProfileReport | None:
    """The kept report if it answers this key."""
    file = answer_file(paths[0])
    try:
        if file.is_symlink() or not file.is_file():
            return None
        answer = msgspec.json.decode(file.read_bytes(), type=Answer)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Of another version or damaged: as good as none.
        return None
    return answer.report if answer.key == wanted else None


def save(paths: tuple[Path, ...], found: str, report: ProfileReport) -> None:
    """Keep the answer; in a folder that cannot be written it is simply worked out again the next time."""
    try:
        write_atomic(answer_file(paths[0]), to_json(Answer(key=found, report=report)))
    except OSError:
        return
