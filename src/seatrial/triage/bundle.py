"""An archive for an upstream issue: raw logs (secrets out), command, versions, hashes; the narrative kept apart.

In: a diagnosis made with `hashed=True` and the path to write. Out: a .zip whose folder `raw/` holds the logs as they
were, `facts/` what was read from them, `narrative/` what this tool concluded. Refuses an existing file.
"""

from __future__ import annotations

import os
import re
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seatrial import __version__
from seatrial.core.errors import SeatrialError, UsageError
from seatrial.core.record import to_json, to_plain
from seatrial.core.secrets import secret_values
from seatrial.triage.read import LogFile
from seatrial.triage.record import Diagnosis
from seatrial.triage.redact import Redacted, open_key, redact

VERSION = re.compile(
    rb"\b((?:vllm(?: api server| engine)?|llm engine|vllm[-_]ascend|vllm[-_]kunlun|torch|torch[-_]npu|transformers|"
    rb"triton(?:-ascend)?|sglang|cann|version)(?: version)?[ =:(v]{1,4}\d{1,3}\.\d{1,3}[\w.+-]{0,40})",
    re.IGNORECASE,
)
ENVIRONMENT = re.compile(r"^(?:VLLM|ASCEND|HCCL|CUDA|XPU|HF|TORCH|PYTORCH|NPU|LCCL|ATB|GLOO|OMP)_")
MAX_VERSIONS = 50
# Bytes of an unfinished line that wait for its next piece: more than a secret with its name can be long.
HOLD = 40_000
# What a name inside the archive does without.
ODD = re.compile(r"[^\w.+-]")
PACKED = re.compile(r"\.(?:gz|bz2|xz|zstd?)$")


class Written(NamedTuple):
    path: Path
    files: int
    redacted: int


def write_bundle(path: Path, answer: Diagnosis, command: str, *, kept: Mapping[str, Path] | None = None) -> Written:
    """Write the archive next to nothing else: `path` must not exist.

    `kept`: where the bytes of a source lie that is no file by its own name (standard input, a pipe).
    """
    kept = kept or {}
    if path.exists():
        raise UsageError(f"{path} exists already", mend="Choose another name for --bundle.")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a folder", mend="Name an existing folder for --bundle.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path.parent} cannot be written", mend="Choose another place for --bundle.")
    secrets = secret_values(_words(command), os.environ)
    written = Written(path, 0, 0)
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            written = _Archive(archive, secrets).fill(path, answer, command, kept)
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise SeatrialError(f"{path} cannot be written: {exc}", mend="Make room, or name another --bundle.") from None
    except BaseException:
        path.unlink(missing_ok=True)  # half an archive is none
        raise
    return written


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


class _Archive:
    """What goes into the archive, each without secrets."""

    def __init__(self, archive: zipfile.ZipFile, secrets: frozenset[str]) -> None:
        self._archive = archive
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._redacted = 0

    def _clean(self, data: bytes) -> bytes:
        return self._redact(data).data

    def _redact(self, data: bytes, hold: int = 0) -> Redacted:
        clean = redact(data, self._secrets, homes=True, hold=hold)
        self._redacted += clean.hits
        return clean

    def _put(self, name: str, text: str) -> None:
        self._archive.writestr(name, self._clean(text.encode("utf-8", "replace")) + b"\n")

    def _raw(self, name: str, file: LogFile) -> set[str]:
        """One log; gives the versions it names."""
        versions: set[str] = set()
        with self._archive.open(name, "w", force_zip64=True) as member:
            rest = b""
            for chunk in file.chunks(hashed=True):
                # A secret may go on in the next chunk: a key of many lines, a word of an over-long line.
                data = rest + chunk
                end = open_key(data)
                unfinished = end == len(data) and not data.endswith((b"\n", b"\r"))
                clean = self._redact(data[:end], HOLD if unfinished else 0)
                member.write(clean.data)
                rest = clean.rest + data[end:]
                if len(versions) < MAX_VERSIONS:
                    versions.update(v.decode("utf-8", "replace") for v in VERSION.findall(chunk)[:20])
            member.write(self._clean(rest))
        return versions

    def fill(self, path: Path, answer: Diagnosis, command: str, kept: Mapping[str, Path]) -> Written:
        versions: set[str] = set()
        changed: dict[str, str] = {}
        files = 0
        for index, source in enumerate(answer.sources):
            if source.dropped and not source.lines:
                continue
            files += 1
            shown = "stdin.log" if source.file == "-" else PACKED.sub("", Path(source.file).name)
            name = f"raw/{index:03d}-{ODD.sub('_', shown)}"
            file = LogFile(source.file, kept.get(source.file, Path(source.file)))
            versions |= self._raw(name, file)
            if file.sha256 != source.sha256:
                changed[source.file] = f"(changed while it was packed: now {file.sha256})"
        self._put("facts/command.txt", command or "(not given; use --command)")
        self._put("facts/versions.txt", "\n".join(sorted(versions)[:MAX_VERSIONS]) or "(none in the logs)")
        environment = (f"{k}={v}" for k, v in sorted(os.environ.items()) if ENVIRONMENT.match(k))
        self._put("facts/environment-of-this-shell.txt", "\n".join(environment))
        hashes = []
        for s in answer.sources:
            notes = f"{s.size} bytes, {s.lines} lines {s.dropped} {changed.get(s.file, '')}".rstrip()
            hashes.append(f"{s.sha256 or '(not read)'}  {s.file}  {notes}")
        self._put("facts/sha256-of-the-originals.txt", "\n".join(hashes))
        self._archive.writestr("narrative/diagnosis.json", to_json(self._plain(to_plain(answer)), indent=2))
        self._put("narrative/README.txt", _narrative(answer))
        return Written(path, files, self._redacted)

    def _plain(self, value: Any) -> Any:
        """The record's texts one by one: across the marks of JSON a value has no end."""
        if isinstance(value, str):
            return self._clean(value.encode("utf-8", "replace")).decode("utf-8", "replace")
        if isinstance(value, dict):
            return {name: self._plain(inner) for name, inner in value.items()}
        return [self._plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _narrative(answer: Diagnosis) -> str:
    cause = answer.first_cause
    lines = [
        f"Made by seatrial triage {__version__}. This is a tool's conclusion; the logs in raw/ are the evidence.",
        f"category: {answer.category} (confidence {answer.confidence:.2f}, signature {answer.signature or 'none'})",
        f"first cause: {cause.text[:600] if cause else 'none found'}",
        f"where: {cause.file}:{cause.line} {cause.process} {cause.time}" if cause else "",
        f"why: {answer.explanation}",
        f"next: {answer.next_step}",
    ]
    return "\n".join(lines)
