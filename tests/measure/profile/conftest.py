"""Small Chrome traces written event by event."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("numpy")


@pytest.fixture
def write(tmp_path):
    """Writes events as a Kineto document; times in integer nanoseconds."""

    def us(ns):
        return f"{ns // 1000}.{ns % 1000:03d}"

    def one(event):
        name, cat, pid, tid, start, dur, *args = event
        return (
            f'{{"ph": "X", "cat": {json.dumps(cat)}, "name": {json.dumps(name)}, "pid": {json.dumps(pid)}, '
            f'"tid": {json.dumps(tid)}, "ts": {us(start)}, "dur": {us(dur)}, '
            f'"args": {json.dumps(args[0] if args else {})}}}'
        )

    def make(events, name="t.pt.trace.json", rank=0, world=1, extra="", cut=None):
        text = '{"schemaVersion": 1, "distributedInfo": ' + json.dumps({"rank": rank, "world_size": world})
        text += ', "traceEvents": [\n' + ",\n".join([*([extra] if extra else []), *map(one, events)])
        text += '\n], "traceName": "x"}\n'
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if cut is None else text[:cut])
        return path

    return make


@pytest.fixture
def answer():
    """The report of paths, nothing cached."""
    from seatrial.measure.profile.analyse import analyse
    from seatrial.measure.profile.open import open_traces

    def ask(*paths, **options):
        return analyse(open_traces(list(paths), use_cache=False), **options)

    return ask
