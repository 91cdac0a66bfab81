"""Ascend's tables: torch_npu's `kernel_details.csv`, msprof's `op_summary_*.csv` and `task_time_*.csv`.

Column names as several CANN generations write them, matched without case, spaces and the trailing TABs that some
columns and values carry; a unit is read from the name ("(us)", "(ns)", "(ms)"). Times are absolute microseconds as text
and are parsed to integers. Columns that say nothing here are named in a finding. Slices of one table are joined.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding
from seatrial.measure.profile import codes
from seatrial.measure.profile.events import EventTable, Kind, Trace, Track, empty_table
from seatrial.measure.profile.extra import require
from seatrial.measure.profile.readers.columns import FARTHEST_NS
from seatrial.measure.profile.readers.decimals import parse
from seatrial.measure.profile.readers.find import rank_of

# What a column means: the names it has had, lower case, without blanks, units and underscores.
MEANINGS: dict[str, tuple[str, ...]] = {
    "start": ("starttime", "taskstarttime", "taskstart"),
    "duration": ("duration", "taskduration", "tasktime"),
    "stop": ("taskstop", "taskstoptime", "endtime"),
    "type": ("type", "optype", "kerneltype"),
    "name": ("name", "opname", "kernelname"),
    "core": ("acceleratorcore", "tasktype", "coretype", "kerneltype"),
    "device": ("deviceid", "device"),
    "stream": ("streamid",),
    "shapes": ("inputshapes",),
    "wait": ("waittime", "taskwaittime"),
}
REQUIRED = ("start", "name")
# Read by other tools, without use for tables of time; not worth a finding each time.
PASSED_OVER = re.compile(
    r"^(stepid|modelid|modelname|taskid|opstate|blockdim|mixblockdim|blocknum|hf32eligible|inputdatatypes|inputformats|"
    r"outputshapes|outputdatatypes|outputformats|contextid|inferid|indexid|batchid|duration|subtaskid|threadid|"
    r"ai(c|v|core|cube|vector)\w*|mac\w*|vec\w*|scalar\w*|mte\d\w*|icache\w*|cube\w*|fixpipe\w*|totalcycles|"
    r"memorybound|l2cachehitrate)$"
)
UNITS = {"us": 3, "ns": 0, "ms": 6, "s": 9}
WAIT = re.compile(
    r"EVENT_?WAIT|NOTIFY_?WAIT|EVENT_?RECORD|NOTIFY_?RECORD|PLACE_?HOLDER|CAPTURE_WAIT|STREAM_ACTIVE", re.I
)
COPY = re.compile(r"MEMCPY|SDMA|PCIE_DMA", re.I)
COLLECTIVE = re.compile(r"^(HCCL|COMMUNICATION|HCCL_AI_CPU)$|^hcom_", re.I)
NOT_SAID = {"", "N/A", "n/a", "NA", "-"}
PREFERRED = (
    re.compile(r"^kernel_details\.csv$", re.I),
    re.compile(r"^op_summary.*\.csv$", re.I),
    re.compile(r"^task_time.*\.csv$", re.I),
)


def read(path: Path) -> Trace:
    """Read a folder's richest table (all slices of it) or one CSV file; raises FileFormatError if it has no times."""
    require("polars")
    files = [path] if path.is_file() else _richest(path)
    findings: list[Finding] = []
    parts = []
    for file in files:
        parts.append(_part(file, findings))
    table = _join(parts) if parts else empty_table()
    return Trace(
        events=table,
        sources=tuple(map(str, files)),
        layout=f"ascend {files[0].name.split('.')[0].rstrip('_0123456789')}",
        rank=rank_of(files[0]),
        findings=findings,
    )


def _richest(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.glob("*.csv") if p.is_file() and not p.is_symlink())
    for pattern in PREFERRED:
        chosen = [p for p in files if pattern.search(p.name)]
        if chosen:
            return chosen
    raise FileFormatError(
        f"{folder}: no table with a time for every kernel is left in it",
        mend="Export with op_summary: msprof --export=on --output=PROF_...",
    )


def plain(column: str) -> str:
    """A column's name as MEANINGS has it."""
    text = re.sub(r"\(.*?\)", "", column.replace("\ufeff", "")).strip().lower()
    return re.sub(r"[\s_]", "", text)


def _header(file: Path) -> list[str]:
    with file.open("rb") as stream:
        line = stream.readline(1 << 16).decode("utf-8-sig", "replace").rstrip("\r\n")
    import csv

    # Before Python 3.11 a NUL is an error to the csv module, after it a character as any other.
    return next(csv.reader([line.replace("\0", "\ufffd")]), [])


def _part(file: Path, findings: list[Finding]) -> EventTable:
    import polars as pl

    header = _header(file)
    where: dict[str, int] = {}
    unknown = []
    for i, column in enumerate(header):
        meaning = next((m for m, names in MEANINGS.items() if plain(column) in names and m not in where), None)
        if meaning is not None:
            where[meaning] = i
        elif not PASSED_OVER.search(plain(column)) and plain(column):
            unknown.append(column.strip())
    missing = [m for m in REQUIRED if m not in where]
    if missing or ("duration" not in where and "stop" not in where):
        raise FileFormatError(
            f"{file.name}: no column for {', '.join(missing) or 'duration'} among {', '.join(header)[:200]}",
            mend="Known tables: kernel_details.csv, op_summary_*.csv, task_time_*.csv.",
        )
    if unknown:
        findings.append(codes.unknown_columns(file.name, unknown))
    wanted = sorted(set(where.values()))
    try:
        frame = pl.read_csv(
            file,
            columns=wanted,
            has_header=False,
            skip_rows=1,
            infer_schema=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        )
    except pl.exceptions.NoDataError:
        return empty_table()
    except pl.exceptions.PolarsError as exc:
        raise FileFormatError(f"{file.name}: {str(exc)[:200]}") from exc

    # Versions of polars name columns without a header differently; their order is the file's.
    frame.columns = [f"c{i}" for i in wanted]

    def told(meaning: str) -> Any:
        return _texts(frame, where[meaning])

    start, good = _times(told("start"), header[where["start"]])
    if "duration" in where:
        dur, also = _times(told("duration"), header[where["duration"]])
    else:
        stop, also = _times(told("stop"), header[where["stop"]])
        dur = stop - start
    good = good & also & (dur >= 0) & (np.abs(start) < FARTHEST_NS) & (dur < FARTHEST_NS)
    if not good.all():
        findings.append(codes.dropped(file.name, "rows without a usable time", int((~good).sum())))
    name, names = _codes(told("name"))
    if "type" in where:
        kind_code, kinds = _codes(told("type"))
        # The type groups instances of one kernel; where it is not said the name must do.
        said = np.array([text not in NOT_SAID and not text.startswith("KERNEL_") for text in kinds], np.bool_)
        joint = names + kinds
        name = np.where(said[kind_code], kind_code + len(names), name)
        names = joint
    kind = _kinds(name, names)
    if "core" in where:
        core_code, cores = _codes(told("core"))
        forced = np.array([_kind_of_core(text) for text in cores], np.int16)[core_code]
        kind = np.where(forced >= 0, forced, kind).astype(np.uint8)
    track, tracks = _tracks(frame, where)
    shape, shapes = _codes(told("shapes")) if "shapes" in where else (np.full(len(start), -1, np.int32), [])
    table = EventTable(
        start=start,
        dur=dur,
        name=name.astype(np.int32),
        kind=kind,
        track=track,
        correlation=np.full(len(start), -1, np.int64),
        shape=shape.astype(np.int32),
        names=names,
        tracks=tracks,
        shapes=shapes,
    )
    return table.take(good) if not good.all() else table


def _texts(frame: Any, column: int) -> Any:
    """A column by its place in the file; blank where the row has none."""
    return frame[f"c{column}"].fill_null("")


def _times(column: Any, header: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of decimal text in the unit its header names, as nanoseconds, and which of them are numbers."""
    found = re.search(r"\((\w+)\)", header)
    places = UNITS.get(found.group(1).lower(), 3) if found else 3
    if not len(column):
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    text = "\n".join(column.to_list())
    if text.count("\n") != len(column) - 1:
        text = "\n".join(cell.replace("\n", "") for cell in column.to_list())
    parsed = parse(text.encode("utf-8", "replace"), places)
    return parsed.value, parsed.good


def _codes(column: Any) -> tuple[np.ndarray, list[str]]:
    """Dictionary codes of a text column and its dictionary, blanks at the ends removed."""
    import polars as pl

    # Most columns hold few words: numbering them first and stripping the words is a pass less over the rows.
    words = column.unique(maintain_order=True)
    number = column.replace_strict(words, pl.Series(range(len(words)), dtype=pl.Int32), return_dtype=pl.Int32)
    joint: dict[str, int] = {}
    again = np.array([joint.setdefault(word.strip(), len(joint)) for word in words.to_list()] or [0], np.int32)
    return again[number.to_numpy()], list(joint)


def _kinds(name: np.ndarray, names: list[str]) -> np.ndarray:
    by_name = np.array([_kind_of_name(text) for text in names] or [Kind.KERNEL], np.uint8)
    kinds: np.ndarray = by_name[name]
    return kinds


def _kind_of_name(text: str) -> Kind:
    if COLLECTIVE.search(text):
        return Kind.COMMUNICATION
    if WAIT.search(text):
        return Kind.DEVICE_WAIT
    return Kind.COPY if COPY.search(text) else Kind.KERNEL


def _kind_of_core(text: str) -> int:
    """The kind that a core or task type forces, or -1."""
    kind = _kind_of_name(text)
    return -1 if kind is Kind.KERNEL else int(kind)


def _tracks(frame: Any, where: dict[str, int]) -> tuple[np.ndarray, list[Track]]:
    """Device and stream of every row; device 0 and one stream where the table does not say them."""
    n = frame.height
    device, devices = np.zeros(n, np.int32), ["0"]
    stream, streams = np.zeros(n, np.int32), ["0"]
    if "device" in where:
        device, devices = _codes(_texts(frame, where["device"]))
    if "stream" in where:
        stream, streams = _codes(_texts(frame, where["stream"]))
    joint = device.astype(np.int64) * len(streams) + stream
    keys, track = np.unique(joint, return_inverse=True)
    tracks = []
    for key in keys.tolist():
        which = devices[key // len(streams)]
        number = int(which) if which.isdigit() and len(which) < 7 else 0
        tracks.append(Track(pid=number, tid=streams[key % len(streams)] or "?", device=number))
    return track.astype(np.int32).reshape(-1), tracks


def _renumber(words: list[Any], joint: dict[Any, int]) -> np.ndarray:
    """The joint number of every word; -1 stays -1."""
    return np.array([*(joint.setdefault(word, len(joint)) for word in words), -1], np.int32)


def _join(parts: list[EventTable]) -> EventTable:
    """Slices of one table as one."""
    if len(parts) == 1:
        return parts[0]
    names: dict[str, int] = {}
    shapes: dict[str, int] = {}
    tracks: dict[Track, int] = {}
    columns: dict[str, list[np.ndarray]] = {"name": [], "track": [], "shape": []}
    for part in parts:
        columns["name"].append(_renumber(part.names, names)[part.name])
        columns["track"].append(_renumber(part.tracks, tracks)[part.track])
        columns["shape"].append(_renumber(part.shapes, shapes)[part.shape])
    return EventTable(
        start=np.concatenate([p.start for p in parts]),
        dur=np.concatenate([p.dur for p in parts]),
        name=np.concatenate(columns["name"]),
        kind=np.concatenate([p.kind for p in parts]),
        track=np.concatenate(columns["track"]),
        correlation=np.concatenate([p.correlation for p in parts]),
        shape=np.concatenate(columns["shape"]),
        names=list(names),
        tracks=list(tracks),
        shapes=list(shapes),
    )
