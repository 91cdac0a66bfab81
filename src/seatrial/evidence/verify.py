"""Re-hash a run and name whatever is not as it was written."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import WorkspaceError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, to_plain
from seatrial.core.verdict import Verdict
from seatrial.evidence import records
from seatrial.evidence.artifacts import file_sha256

LOOKS = 3


class Verification(Record):
    """What was checked, and what was found. `verdict` is fail on any error, inconclusive without any record."""

    run_id: str
    verdict: Verdict
    records: int
    artifacts: int
    bytes: int
    findings: tuple[Finding, ...]


def verify_run(folder: Path) -> Verification:
    """Check manifest, every record's place in the chain, the head, and every artifact's content."""
    try:
        log = records.read_log(folder)
        for _ in range(LOOKS):
            # A run that is being written may have gone on between the two looks; one that lost records has not.
            if not records.head_error(folder, log):
                break
            log = records.read_log(folder)
    except WorkspaceError as exc:
        unread = (_error("V001", str(folder), exc.message),)
        return Verification(run_id=folder.name, verdict=Verdict.FAIL, records=0, artifacts=0, bytes=0, findings=unread)
    place = str(folder / records.RECORDS)
    found = [_error("V001", place, p, "Restore the file from a copy; evidence is never edited.") for p in log.problems]
    if log.torn:
        found.append(_warning("V002", place, "the last line was cut off by a kill", "Resume the run."))
    found += _check_head(folder, log)
    refs: dict[str, dict[str, str]] = {}
    for entry in log.entries:
        for ref in _refs(to_plain(entry.body)):
            if isinstance(ref["file"], str) and isinstance(ref["sha256"], str):
                if refs.setdefault(ref["file"], ref)["sha256"] != ref["sha256"]:
                    found.append(_error("V005", place, f"record {entry.seq} has another hash for {ref['file']}"))
            else:
                found.append(_error("V001", place, f"record {entry.seq} refers to an artifact without a name or hash"))
    artifacts = folder / "artifacts"
    size = 0
    for file, ref in refs.items():
        path = artifacts / file
        try:  # the first look already: not every name is one that a file can have
            if Path(file).name != file or path.is_symlink():
                found.append(_error("V005", str(path), f"artifact {ref['name']!r} points out of the folder"))
                continue
            if not path.is_file():
                found.append(_error("V004", str(path), f"artifact {ref['name']!r} is missing"))
                continue
            size += path.stat().st_size
            same = file_sha256(path) == ref["sha256"]
        except OSError as exc:
            found.append(_error("V004", str(path), f"artifact {ref['name']!r} cannot be read: {exc.strerror}"))
            continue
        if not same:
            found.append(_error("V005", str(path), f"artifact {ref['name']!r} was changed"))
    for path in sorted(artifacts.iterdir()) if artifacts.is_dir() else []:
        if path.name not in refs:
            why = "Left by a kill between writing and recording it, or put there by hand; it is no evidence."
            found.append(_warning("V006", str(path), "no record names this file", why))
    failed = any(f.severity is Severity.ERROR for f in found)
    return Verification(
        run_id=folder.name,
        # Nothing recorded is nothing proven: a run killed at its start, or one whose records were taken away.
        verdict=Verdict.FAIL if failed else Verdict.PASS if log.entries else Verdict.INCONCLUSIVE,
        records=len(log.entries),
        artifacts=len(refs),
        bytes=size,
        findings=tuple(found),
    )


def _check_head(folder: Path, log: records.Log) -> list[Finding]:
    place = str(folder / records.HEAD)
    count = len(log.entries)
    trouble = records.head_error(folder, log)
    if trouble:
        return [_error("V003", place, trouble)]
    head = records.read_head(folder)
    if head is None:
        late = _warning("V003", place, "missing: the run was killed at its first record", "Resume the run.")
        return [late] if count else []
    if head.records < count:
        return [_warning("V003", place, "older than the last record: the run was killed in between", "Resume the run.")]
    return []


def _error(code: str, place: str, message: str, next_step: str = "") -> Finding:
    return Finding(code=code, severity=Severity.ERROR, place=place, message=message, next_step=next_step)


def _warning(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, place=place, message=message, next_step=next_step)


def _refs(value: object) -> list[dict[str, str]]:
    """All artifact references inside a record's body."""
    if isinstance(value, dict):
        if {"sha256", "file", "name", "bytes"} == set(value):
            return [value]
        return [ref for item in value.values() for ref in _refs(item)]
    if isinstance(value, (list, tuple)):
        return [ref for item in value for ref in _refs(item)]
    return []
