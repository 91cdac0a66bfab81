"""From chunks of Chrome JSON to columns: decodes, interns names and tracks, counts what it drops and why.

A `Columns` is filled by one process; `Part` is what it hands over, with its own dictionaries, to be merged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import msgspec
import numpy as np

from seatrial.measure.profile.events import I64
from seatrial.measure.profile.readers.decimals import FLOAT_LIMIT, from_floats, parse
from seatrial.measure.profile.readers.wire import EVENTS, TEXT_EVENTS, Event, TextEvent, odd

# Metadata events are a handful per process; a file with more than this is not a profile.
METADATA_LIMIT = 100_000
# Nothing was profiled before 1970 or will be after the year 2200: beyond it a time is not a time.
FARTHEST_NS = 7_258_118_400_000_000_000
DTYPES: dict[str, Any] = {"start": np.int64, "dur": np.int64, "name": np.int32, "label": np.int32, "track": np.int32}
DTYPES |= {"correlation": np.int64, "shape": np.int32}
COMPLETE = "X"
# Allocator events that cannot be used, by why.
UNDATED, BEYOND = "allocator events without a time", "allocator events with a size beyond any memory"
# What msgspec raises for bytes that are no JSON, no UTF-8, or nested without end.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(kw_only=True)
class Part:
    """Columns of one stretch of a file. `labels` are its categories; `meta` rows are (name, pid, tid, value)."""

    columns: dict[str, np.ndarray]
    names: list[str]
    tracks: list[list[int | str]]
    labels: list[str]
    shapes: list[str]
    meta: list[list[Any]]
    memory: list[list[int]]
    counts: dict[str, int] = field(default_factory=dict)


class Columns:
    """The events read so far. `text` is set once times need to be read as text, and stays."""

    def __init__(self, *, text: bool = False) -> None:
        self.text = text
        self._names: dict[str, int] = {}
        self._tracks: dict[tuple[int | str, int | str], int] = {}
        self._labels: dict[str, int] = {}
        self._shapes: dict[str, int] = {}
        self._chunks: dict[str, list[np.ndarray]] = {key: [] for key in DTYPES}
        self._meta: list[list[Any]] = []
        self._memory: list[list[int]] = []
        self.counts: dict[str, int] = {}

    def add(self, elements: bytes | memoryview) -> None:
        """Elements of an event array, commas but no brackets; raises msgspec.DecodeError if that is not JSON."""
        document = b"".join([b"[", elements, b"]"])
        try:
            self._decode(document)
        except UnicodeDecodeError:
            # A name cut in the middle of a character is still a name.
            self._decode(document.decode("utf-8", "replace").encode())

    def _decode(self, document: bytes) -> None:
        try:
            if not self.text:
                events = EVENTS.decode(document)
                if self._add_floats(events):
                    return
                self.text = True
            self._add_text(TEXT_EVENTS.decode(document))
        except msgspec.ValidationError:
            self._add_text(self._odd(_untyped(document)))

    def count(self, what: str, by: int = 1) -> None:
        if by:
            self.counts[what] = self.counts.get(what, 0) + by

    def _odd(self, elements: list[Any]) -> list[TextEvent]:
        found = [odd(element) for element in elements]
        self.count("elements that are no event", sum(e is None for e in found))
        return [e for e in found if e is not None]

    def _add_floats(self, events: list[Event]) -> bool:
        """False, and nothing added, if a time is too large for a float to hold its nanoseconds."""
        complete, others = _sift(events)
        times = np.array([e.ts for e in complete], dtype=np.float64)
        durations = np.array([e.dur for e in complete], dtype=np.float64)
        if len(times) and not (np.abs(times).max() < FLOAT_LIMIT and np.abs(durations).max() < FLOAT_LIMIT):
            return False
        for e in others:
            self._other(e)
        if complete:
            self._append(complete, from_floats(times), from_floats(durations), None)
        return True

    def _add_text(self, events: list[TextEvent]) -> None:
        complete, others = _sift(events)
        for e in others:
            self._other(e)
        if complete:
            start = parse(b"\n".join([e.ts for e in complete]))
            dur = parse(b"\n".join([e.dur for e in complete]))
            good = start.good & dur.good
            self.count("times that are no number", int((~good).sum()))
            self._append(complete, start.value, dur.value, good)

    def _other(self, e: Event | TextEvent) -> None:
        args = e.args
        if e.ph == "M":
            if len(self._meta) < METADATA_LIMIT:
                value = None if args is None else args.labels if e.name == "process_labels" else args.name
                self._meta.append([e.name, e.pid, e.tid, value])
            else:
                self.count("metadata events beyond the limit")
        elif e.name == "[memory]" and args is not None and isinstance(args.allocated, int):
            when = _when(e)
            device = args.device if isinstance(args.device, int) else -1
            reserved = args.reserved if isinstance(args.reserved, int) else -1
            if when is None:
                self.count(UNDATED)
            elif all(abs(x) < 1 << 62 for x in (device, args.allocated, reserved)):
                self._memory.append([when, device, args.allocated, reserved])
            else:
                self.count(BEYOND)
        else:
            self.count(
                {"s": "flow", "f": "flow", "t": "flow", "i": "instant", "C": "counter"}.get(e.ph, f"ph {e.ph[:8]!r}")
            )

    def _append(self, events: list[Any], start: I64, dur: I64, good: np.ndarray | None) -> None:
        n = len(events)
        names, tracks, labels = self._names, self._tracks, self._labels
        texts = [e.name for e in events]
        for text in set(texts):
            names.setdefault(text, len(names))
        keys = [(e.pid, e.tid) for e in events]
        for key in set(keys):
            tracks.setdefault(key, len(tracks))
        cats = [e.cat for e in events]
        for cat in set(cats):
            labels.setdefault(cat, len(labels))
        args = [e.args for e in events]
        row: dict[str, np.ndarray] = {
            "start": start,
            "dur": dur,
            "name": np.fromiter(map(names.__getitem__, texts), np.int32, n),
            "label": np.fromiter(map(labels.__getitem__, cats), np.int32, n),
            "track": np.fromiter(map(tracks.__getitem__, keys), np.int32, n),
            "correlation": self._correlations(args, n),
            "shape": np.full(n, -1, np.int32),
        }
        shaped = [i for i, a in enumerate(args) if a is not None and a.shapes is not None]
        for i in shaped:
            text = str(args[i].shapes)
            row["shape"][i] = self._shapes.setdefault(text, len(self._shapes))
        keep = (np.abs(start) < FARTHEST_NS) & (dur >= 0) & (dur < FARTHEST_NS)
        self.count("negative durations", int((dur < 0).sum()))
        self.count("times outside any calendar", int(((np.abs(start) >= FARTHEST_NS) | (dur >= FARTHEST_NS)).sum()))
        if good is not None:
            keep &= good
        for column, values in row.items():
            self._chunks[column].append(values if keep.all() else values[keep])

    @staticmethod
    def _correlations(args: list[Any], n: int) -> np.ndarray:
        try:
            return np.fromiter([-1 if a is None else a.correlation for a in args], np.int64, n)
        except OverflowError:
            limit = 1 << 62
            return np.array([-1 if a is None or abs(a.correlation) > limit else a.correlation for a in args], np.int64)

    def finish(self) -> Part:
        columns = {
            key: np.concatenate(chunks) if chunks else np.empty(0, DTYPES[key]) for key, chunks in self._chunks.items()
        }
        self._chunks = {key: [] for key in DTYPES}
        return Part(
            columns=columns,
            names=list(self._names),
            tracks=[list(key) for key in self._tracks],
            labels=list(self._labels),
            shapes=list(self._shapes),
            meta=self._meta,
            memory=self._memory,
            counts=self.counts,
        )


def _when(e: Event | TextEvent) -> int | None:
    """An event's time in nanoseconds; None where it has none, or one that is no time."""
    if isinstance(e, Event):
        when = None if e.ts is None or abs(e.ts) >= FARTHEST_NS else round(e.ts * 1000)
    else:
        told = parse(bytes(e.ts))
        when = int(told.value[0]) if told.good[0] else None
    return when if when is not None and abs(when) < FARTHEST_NS else None


def _untyped(document: bytes) -> list[Any]:
    """The elements as plain data; the standard library's decoder takes numbers (1e999) that msgspec refuses."""
    try:
        elements = json.loads(document)
    except UnicodeDecodeError:
        raise  # `add` mends the text and comes back
    except ValueError as exc:
        raise msgspec.DecodeError(str(exc)) from exc
    return elements if isinstance(elements, list) else []


def _sift(events: list[Any]) -> tuple[list[Any], list[Any]]:
    """The complete events, and the others."""
    mask = [e.ph == COMPLETE for e in events]
    if all(mask):
        return events, []
    return list(compress(events, mask)), list(compress(events, [not m for m in mask]))


def merge(parts: list[Part]) -> Part:
    """One part of several, in their order, with joint dictionaries."""
    if len(parts) == 1:
        return parts[0]
    out: dict[str, list[np.ndarray]] = {key: [] for key in DTYPES}
    joint: dict[str, dict[Any, int]] = {"name": {}, "track": {}, "label": {}, "shape": {}}
    counts: dict[str, int] = {}
    for part in parts:
        words: dict[str, list[Any]] = {
            "name": part.names,
            "track": [tuple(t) for t in part.tracks],
            "label": part.labels,
            "shape": part.shapes,
        }
        for key, values in part.columns.items():
            known = joint.get(key)
            if known is not None:
                new = np.array([known.setdefault(w, len(known)) for w in words[key]] + [-1], np.int32)
                out[key].append(new[values])
            else:
                out[key].append(values)
        for what, many in part.counts.items():
            counts[what] = counts.get(what, 0) + many
        part.columns = {}
    columns = {}
    for key in list(out):
        columns[key] = np.concatenate(out.pop(key))
    return Part(
        columns=columns,
        names=list(joint["name"]),
        tracks=[list(t) for t in joint["track"]],
        labels=list(joint["label"]),
        shapes=list(joint["shape"]),
        meta=[row for part in parts for row in part.meta],
        memory=[row for part in parts for row in part.memory],
        counts=counts,
    )
