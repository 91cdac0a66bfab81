"""The manifest: everything known when a run begins. Written once; what changes later is a record.

In: arguments, versions, hashes. Out: the `Manifest`. Secrets are redacted before anything is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from seatrial.core.git import git
from seatrial.core.record import Record
from seatrial.core.secrets import redact, redact_arguments, without_secrets

__all__ = [
    "GitState", "Manifest", "git_state", "hardware", "redact", "redact_arguments", "redact_target",
    "telling_environment", "without_secrets",
]  # fmt: skip

SCHEMA_VERSION = 1
# The variables that can change what an engine does; of all others only the names are kept.
TELLING = re.compile(
    r"^(VLLM|ASCEND|HCCL|ACL|ATB|NPU|TASK_QUEUE|CPU_AFFINITY|XPU|XMLIR|KUNLUN|BKCL|CUDA|NCCL|NVIDIA|TORCH|PYTORCH|PYTHON"
    r"|TRITON|OMP|MKL|KMP|OPENBLAS|HF|HUGGINGFACE|TRANSFORMERS|SAFETENSORS|TOKENIZERS|RAY|GLOO|SEATRIAL"
    r"|PATH|LD_|LANG|LC_|TMPDIR|HOME|USER|VIRTUAL_ENV|CONDA)"
)


class GitState(Record):
    """The checkout a folder belongs to. `dirty` lists at most 50 changed paths.

    `changes` is a hash of what differs from the commit (the diff, size and time of untracked files); empty if clean.
    """

    folder: str
    commit: str
    is_dirty: bool
    dirty: tuple[str, ...] = ()
    changes: str = ""


class Manifest(Record):
    """What a run began with. `arguments_given` is the command line, `arguments` what it came to.

    `versions`: distribution to version, as installed where the engine runs. `inputs`: name of an input to its hash.
    """

    schema_version: int
    run_id: str
    created_at: str
    seatrial_version: str
    arguments_given: tuple[str, ...]
    arguments: dict[str, Any]
    checkpoint: str
    target: dict[str, Any]
    target_sources: tuple[str, ...]
    python: str
    versions: dict[str, str]
    git: tuple[GitState, ...]
    hardware: dict[str, Any]
    environment: dict[str, str]
    environment_other_names: tuple[str, ...]
    inputs: dict[str, str]


def telling_environment(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables that matter to an engine, redacted, and the names of the others."""
    told = {n: redact(n, v) for n, v in sorted(environment.items()) if TELLING.match(n)}
    return told, tuple(sorted(n for n in environment if n not in told))


def redact_target(target: dict[str, Any]) -> dict[str, Any]:
    """A target, as plain data, whose launch variables and serve arguments hold no secrets."""
    clean = {**target}
    for part, key in (("launch", "env"), ("serve", "args")):
        values = {n: redact(n.replace("-", "_"), v) if isinstance(v, str) else v for n, v in target[part][key].items()}
        clean[part] = {**target[part], key: values}
    return clean


def git_state(folder: Path) -> GitState | None:
    """The commit and the changed files of the checkout around `folder`; None where there is none, or git is missing,
    does not trust its owner, or takes over two minutes."""
    head = git(folder, "rev-parse", "HEAD")
    # Every file of an untracked folder: git names the folder alone otherwise, and an edit within it does not show.
    status = git(folder, "status", "--porcelain", "-z", "--untracked-files=all")
    top = git(folder, "rev-parse", "--show-toplevel")
    if head is None or status is None or top is None:
        return None
    changed = [os.fsdecode(entry[3:]) for entry in status.split(b"\0") if entry[2:3] == b" "]
    diff = git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
    if diff is None:
        return None
    digest = hashlib.sha256(status + diff)
    for entry in status.split(b"\0"):
        if entry.startswith(b"?? "):
            with contextlib.suppress(OSError):
                seen = (Path(os.fsdecode(top.strip())) / os.fsdecode(entry[3:])).stat()
                digest.update(f"{seen.st_size} {seen.st_mtime_ns}".encode())
    return GitState(
        folder=str(folder),
        commit=head.decode().strip(),
        is_dirty=bool(changed),
        dirty=tuple(changed[:50]),
        changes=digest.hexdigest() if changed else "",
    )


def hardware() -> dict[str, Any]:
    """The host as the operating system describes it. Sizes in bytes."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.M)
        model = names[0] if names else ""
    return {
        "machine": platform.machine(),
        "cpu": model or "unknown",
        "cores": psutil.cpu_count() or "unknown",
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
    }
