"""What a path holds: which files are profiles, and which reader takes each.

A file is taken for what its name says. In a folder (walked at most eight deep, links not followed) each rank's folder
gives one source, the richest it has: a Chrome trace, else tables, else a database.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CHROME = re.compile(r"(trace.*\.json|^trace_view\.json|^msprof_.*\.json|\.json)(\.gz|\.zst)?$", re.I)
CHROME_STRICT = re.compile(
    r"(\.pt\.trace\.json|trace_view\.json|^msprof_.*\.json|\.trace\.json|^trace.*\.json)(\.gz|\.zst)?$", re.I
)
KERNELS = re.compile(
    r"^(kernel_details|op_summary[_\d]*|task_time[_\d]*)\.csv$|^(op_summary|task_time|op_statistic|communication_statistic)_.*\.csv$",
    re.I,
)
DATABASE = re.compile(r"^(msprof_.*|analysis|ascend_pytorch_profiler.*)\.db$", re.I)
DEPTH = 8
MOST = 4096


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing to read: a file, or for `tables` a folder of CSV files or one of them."""

    path: Path
    kind: Literal["chrome", "tables", "database"]


def find(path: Path) -> list[Source]:
    """The sources at `path`, in order of name; empty if it holds none."""
    if path.is_file():
        kind = _kind(path.name)
        return [Source(path=path, kind=kind)] if kind else []
    found: list[Source] = []
    for folder, below, files in os.walk(path, followlinks=False):
        below.sort()
        if len(Path(folder).relative_to(path).parts) >= DEPTH:
            below.clear()
        usable = [f for f in sorted(files) if not f.endswith(".seatrial.npz") and not (Path(folder) / f).is_symlink()]
        chrome = [f for f in usable if CHROME_STRICT.search(f)]
        tables = [f for f in usable if KERNELS.search(f)]
        databases = [f for f in usable if DATABASE.search(f)]
        # msprof's JSON and CSV are two exports of the same capture; the tables name shapes and cores, and are smaller.
        if chrome and not (tables and all(f.startswith("msprof_") for f in chrome)):
            found += [Source(path=Path(folder) / f, kind="chrome") for f in chrome]
        elif tables:
            found.append(Source(path=Path(folder), kind="tables"))
        elif databases:
            found += [Source(path=Path(folder) / f, kind="database") for f in databases]
        if len(found) > MOST:
            break
    return found[:MOST]


def _kind(name: str) -> Literal["chrome", "tables", "database"] | None:
    if name.lower().endswith(".csv"):
        return "tables"
    if name.lower().endswith(".db"):
        return "database"
    return "chrome" if CHROME.search(name) else None


RANK_IN_NAME = re.compile(r"(?:^|[^a-z])rank[_-]?(\d{1,6})(?:\D|$)", re.I)
PROFILER_INFO = re.compile(r"^profiler_info_(\d{1,6})\.json$")


def rank_of(path: Path) -> int:
    """The rank that a file's name, its folders' names or torch_npu's `profiler_info_N.json` say; -1 if none does."""
    places = [path, *list(path.parents)[:3]]
    for place in places:
        found = RANK_IN_NAME.search(place.name)
        if found:
            return int(found.group(1))
    for folder in places[1:3]:
        try:
            numbers = [m.group(1) for f in folder.iterdir() if (m := PROFILER_INFO.search(f.name))]
        except OSError:
            continue
        if len(numbers) == 1:
            return int(numbers[0])
    return -1
