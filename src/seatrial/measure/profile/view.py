"""The page of a profile: one self-contained HTML file with tables, a zoomable timeline, an icicle and a rank heat map.

In: the report and the traces it is of. Out: text. The timeline holds rows of events that do not overlap, as typed
arrays in base64 (16 bytes an event); the page draws only what a pixel can show, so a million events pan smoothly. If
there are more events than `most`, the shortest are left out of the timeline (not of the tables), and the page says so.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.core.record import to_json
from seatrial.measure.profile.events import DEVICE_WORK, EventTable, Kind, Trace
from seatrial.measure.profile.families import family_of
from seatrial.measure.profile.icicle import icicle
from seatrial.measure.profile.intervals import covered, union
from seatrial.measure.profile.nesting import nest
from seatrial.measure.profile.records import ProfileReport

TEMPLATE = Path(__file__).with_name("view.html")
MOST_EVENTS = 1_000_000
MOST_DEPTH = 64
BINS = 160
HOST_KINDS = (Kind.CPU_OP, Kind.RUNTIME, Kind.PYTHON, Kind.ANNOTATION)
SHOWN = (*DEVICE_WORK, Kind.DEVICE_WAIT, Kind.DEVICE_ANNOTATION, *HOST_KINDS)


def page(report: ProfileReport, traces: list[Trace], *, most: int = MOST_EVENTS) -> str:
    """The page's text; `traces` in any order, matched to the report's ranks by their sources."""
    offsets = {rank.sources: rank.offset_ns for rank in report.ranks}
    ordered = sorted(traces, key=lambda t: (t.rank, t.sources))
    first = min((int(t.events.start.min()) + offsets.get(t.sources, 0) for t in ordered if len(t.events)), default=0)
    data = {
        "report": json.loads(to_json(report)),
        "timeline": _timeline(ordered, offsets, first, most),
        "icicles": [icicle(t.events) for t in ordered],
        "heat": _heat(ordered, offsets, first),
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/null", text)


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _timeline(traces: list[Trace], offsets: dict[tuple[str, ...], int], first: int, most: int) -> dict[str, Any]:
    """Rows of disjoint events, the devices of each rank before its threads."""
    names: dict[str, int] = {}
    families: list[str] = []
    rows: list[dict[str, Any]] = []
    starts, durations, labels = [], [], []
    total = sum(int(t.events.of(*SHOWN).sum()) for t in traces)
    left_out = 0
    for trace in traces:
        table = trace.events.take(trace.events.of(*SHOWN))
        if total > most and len(table):
            share = max(1, int(most * len(table) / total))
            if share < len(table):
                keep = np.sort(np.argpartition(-table.dur, share)[:share])
                left_out += len(table) - share
                table = table.take(keep)
        renamed = np.zeros(len(table.names), np.uint32)
        for used in np.unique(table.name).tolist():
            text = table.names[used][:200]
            if text not in names:
                names[text] = len(names)
                families.append(family_of(text))
            renamed[used] = names[text]
        depth = np.minimum(nest(table.start, table.dur, table.track).depth, MOST_DEPTH)
        begin = table.start + (offsets.get(trace.sources, 0) - first)
        for track in _tracks(table):
            mine = np.flatnonzero(table.track == track)
            for level in np.unique(depth[mine]).tolist():
                row = mine[depth[mine] == level]
                row = row[np.argsort(begin[row], kind="stable")]
                rows.append({"lane": _lane(trace, table, track), "depth": level, "n": len(row)})
                starts.append(begin[row].astype(np.float64))
                durations.append(table.dur[row].astype(np.float32))
                labels.append(renamed[table.name[row]])
    none = [np.empty(0)]
    return {
        "rows": rows,
        "names": list(names),
        "families": families,
        "left_out": left_out,
        "start": _packed(np.concatenate(starts or none).astype(np.float64)),
        "dur": _packed(np.concatenate(durations or none).astype(np.float32)),
        "name": _packed(np.concatenate(labels or none).astype(np.uint32)),
    }


def _tracks(table: EventTable) -> list[int]:
    """Device streams first, then the host's threads by number of events."""
    used, many = np.unique(table.track, return_counts=True)
    order = sorted(zip(used.tolist(), many.tolist(), strict=True), key=lambda p: (table.tracks[p[0]].device < 0, -p[1]))
    return [track for track, _ in order]


def _lane(trace: Trace, table: EventTable, track: int) -> str:
    row = table.tracks[track]
    where = row.thread or (f"stream {row.tid}" if row.device >= 0 else f"thread {row.tid}")
    device = f"device {row.device} " if row.device >= 0 else ""
    return f"rank {trace.rank} {device}{where}" if trace.rank >= 0 else f"{device}{where}"


def _heat(traces: list[Trace], offsets: dict[tuple[str, ...], int], first: int) -> dict[str, Any]:
    """Busy share of every device in equal stretches of the whole time."""
    last = first
    segments = []
    for trace in traces:
        table = trace.events
        work = table.of(*DEVICE_WORK)
        if not work.any():
            work = table.of(Kind.CPU_OP)
        offset = offsets.get(trace.sources, 0)
        devices = table.devices()[table.track] if len(table) else np.empty(0, np.int64)
        for device in np.unique(devices[work]).tolist():
            mine = work & (devices == device)
            start = table.start[mine] + offset
            end = start + table.dur[mine]
            last = max(last, int(end.max()))
            label = f"rank {trace.rank} " if trace.rank >= 0 else ""
            segments.append((label + (f"device {device}" if device >= 0 else "host"), union(start, end)))
    edges = np.linspace(first, max(last, first + 1), BINS + 1).astype(np.int64)
    width = np.maximum(np.diff(edges), 1)
    return {
        "span_ns": last - first,
        "rows": [
            {"name": name, "busy": [round(float(v), 4) for v in covered(found, edges[:-1], edges[1:]) / width]}
            for name, found in segments
        ],
    }
