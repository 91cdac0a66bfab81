"""An archive for an upstream issue: raw logs (secrets out), command, versions, hashes; the narrative kept apart.

In: a diagnosis made with `hashed=True` and the path to write. Out: a .zip whose folder `raw/` holds the logs as they
were, `facts/` what was read from them, `narrative/` what this tool concluded. Refuses an existing file.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from seatrial import __version__
from seatrial.core.errors import UsageError
from seatrial.core.record import to_json
from seatrial.triage.read import LogFile
from seatrial.triage.record import Diagnosis
from seatrial.triage.redact import redact

VERSION = re.compile(
    rb"\b((?:vllm(?: api server| engine)?|llm engine|vllm[-_]ascend|vllm[-_]kunlun|torch|torch[-_]npu|transformers|"
    rb"triton(?:-ascend)?|sglang|cann|version)(?: version)?[ =:(v]{1,4}\d{1,3}\.\d{1,3}[\w.+-]{0,40})",
    re.IGNORECASE,
)
ENVIRONMENT = re.compile(r"^(?:VLLM|ASCEND|HCCL|CUDA|XPU|HF|TORCH|PYTORCH|NPU|LCCL|ATB|GLOO|OMP)_")
MAX_VERSIONS = 50
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
    redacted = 0
    versions: set[str] = set()
    files = 0
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for index, source in enumerate(answer.sources):
            if source.dropped and not source.size:
                continue
            files += 1
            shown_name = "stdin.log" if source.file == "-" else PACKED.sub("", Path(source.file).name)
            name = f"raw/{index:03d}-{shown_name}"
            with archive.open(name, "w", force_zip64=True) as member:
                for chunk in LogFile(source.file, kept.get(source.file, Path(source.file))).chunks():
                    clean = redact(chunk)
                    redacted += clean.hits
                    member.write(clean.data)
                    if len(versions) < MAX_VERSIONS:
                        versions.update(v.decode("utf-8", "replace") for v in VERSION.findall(chunk)[:20])
        shown = redact(command.encode())
        redacted += shown.hits
        archive.writestr("facts/command.txt", shown.data + b"\n" if command else b"(not given; use --command)\n")
        archive.writestr(
            "facts/versions.txt", "\n".join(sorted(versions)) + "\n" if versions else "(none in the logs)\n"
        )
        environment = redact(
            "\n".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if ENVIRONMENT.match(k)).encode()
        )
        redacted += environment.hits
        archive.writestr("facts/environment-of-this-shell.txt", environment.data + b"\n")
        hashes = [f"{s.sha256}  {s.file}  {s.size} bytes, {s.lines} lines {s.dropped}".rstrip() for s in answer.sources]
        archive.writestr("facts/sha256-of-the-originals.txt", "\n".join(hashes) + "\n")
        plain = redact(to_json(answer, indent=2))
        archive.writestr("narrative/diagnosis.json", plain.data)
        archive.writestr("narrative/README.txt", _narrative(answer))
    return Written(path, files, redacted)


def _narrative(answer: Diagnosis) -> bytes:
    cause = answer.first_cause
    lines = [
        f"Made by seatrial triage {__version__}. This is a tool's conclusion; the logs in raw/ are the evidence.",
        f"category: {answer.category} (confidence {answer.confidence:.2f}, signature {answer.signature or 'none'})",
        f"first cause: {cause.text[:600] if cause else 'none found'}",
        f"where: {cause.file}:{cause.line} {cause.process} {cause.time}" if cause else "",
        f"why: {answer.explanation}",
        f"next: {answer.next_step}",
    ]
    return redact("\n".join(lines).encode() + b"\n").data
