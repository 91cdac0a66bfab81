"""What a path holds: which files are profiles, and which reader takes each.

A file is taken for what its name says. In a folder (walked at most eight deep, links not followed) each rank's folder
gives one source, the richest it has: a Chrome trace, else tables, else a database. The profiler's own totals in that
folder go with the source; where there is nothing else they are a source of their own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from seatrial.measure.profile.vendor import is_vendor_table

CHROME = re.compile(r"(trace.*\.json|^trace_view\.json|^msprof_.*\.json|\.json)(\.gz|\.zst)?$", re.I)
CHROME_STRICT = re.compile(
    r"(\.pt\.trace\.json|trace_view\.json|^msprof_.*\.json|\.trace\.json|^trace.*\.json)(\.gz|\.zst)?$", re.I
)
KERNELS = re.compile(r"^(kernel_details|op_summary[_\d]*|task_time[_\d]*)\.csv$|^(op_summary|task_time)_.*\.csv$", re.I)
DATABASE = re.compile(r"^(msprof_.*|analysis|ascend_pytorch_profiler.*)\.db$", re.I)
# What Ascend's tools put beside their events and nothing here reads; what describes the capture only is not named.
TABLE = re.compile(r"\.(csv|json)$", re.I)
DESCRIBES = re.compile(r"^(profiler_(info|metadata)|info|sample|host_start|dev_start|end_info|start_info)\b.*", re.I)
Kind = Literal["chrome", "tables", "database", "totals"]
DEPTH = 8
MOST = 4096


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing to read: a file, or for `tables` a folder of CSV files or one of them.

    `totals` are the files of the profiler's own sums beside it (for the kind of that name: all there is), `unread` the
    names of tables beside it that no reader takes.
    """

    path: Path
    kind: Kind
    totals: tuple[Path, ...] = ()
    unread: tuple[str, ...] = ()


def find(path: Path) -> list[Source]:
    """The sources at `path`, in order of name; empty if it holds none."""
    if path.is_file():
        kind = _kind(path.name)
        return [Source(path=path, kind=kind, totals=(path,) if kind == "totals" else ())] if kind else []
    found: list[Source] = []
    for folder, below, files in os.walk(path, followlinks=False):
        below.sort()
        if len(Path(folder).relative_to(path).parts) >= DEPTH:
            below.clear()
        usable = [f for f in sorted(files) if not f.endswith(".seatrial.npz") and not (Path(folder) / f).is_symlink()]
        totals = tuple(Path(folder) / f for f in usable if is_vendor_table(f))
        chrome = [f for f in usable if CHROME_STRICT.search(f)]
        tables = [f for f in usable if KERNELS.search(f)]
        databases = [f for f in usable if DATABASE.search(f)]
        # msprof's JSON and CSV are two exports of the same capture; the tables name shapes and cores, and are smaller.
        here: list[Source] = []
        if chrome and not (tables and all(f.startswith("msprof_") for f in chrome)):
            here = [Source(path=Path(folder) / f, kind="chrome") for f in chrome]
        elif tables:
            here = [Source(path=Path(folder), kind="tables")]
        elif databases:
            here = [Source(path=Path(folder) / f, kind="database") for f in databases]
        elif totals:
            here = [Source(path=Path(folder), kind="totals")]
        if here and (totals or tables):
            read = {*chrome, *tables, *databases, *(t.name for t in totals)}
            unread = tuple(f for f in usable if f not in read and TABLE.search(f) and not DESCRIBES.search(f))
            here[0] = replace(here[0], totals=totals, unread=unread)
        found += here
        if len(found) > MOST:
            break
    return found[:MOST]


def _kind(name: str) -> Kind | None:
    if is_vendor_table(name):
        return "totals"
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
