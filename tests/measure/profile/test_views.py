"""The page and the cut: what goes in comes out, names cannot break the page, limits are said."""

from __future__ import annotations

import base64
import json
import re

import numpy as np

from seatrial.measure.profile.analyse import analyse
from seatrial.measure.profile.cut import write_cut
from seatrial.measure.profile.icicle import icicle
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.view import page

T0 = 4328559894992449
EVENTS = [
    ("outer", "cpu_op", 1, 1, T0, 1000),
    ("inner", "cpu_op", 1, 1, T0 + 100, 300),
    ("inner", "cpu_op", 1, 1, T0 + 500, 300),
    ("</script><b>gemm", "kernel", 0, 7, T0 + 2000, 500, {"correlation": 4}),
    ("ncclAllReduce", "kernel", 0, 20, T0 + 2200, 800),
]


def data_of(text):
    found = re.search(r"const DATA = (.*);\n", text)
    return json.loads(found.group(1))


def test_the_page_holds_every_event_of_the_timeline(write):
    traces = open_traces([write(EVENTS)], use_cache=False)
    text = page(analyse(traces), traces)
    assert text.count("</script>") == 1
    timeline = data_of(text)["timeline"]
    start = np.frombuffer(base64.b64decode(timeline["start"]), np.float64)
    assert sorted(start.tolist()) == [0, 100, 500, 2000, 2200]
    assert [(r["depth"], r["n"]) for r in timeline["rows"]] == [(0, 1), (0, 1), (0, 1), (1, 2)]
    assert timeline["left_out"] == 0
    assert "http" not in re.sub(r"const DATA = .*\n", "", text)


def test_beyond_the_limit_the_shortest_are_left_out_and_counted(write):
    traces = open_traces([write(EVENTS)], use_cache=False)
    timeline = data_of(page(analyse(traces), traces, most=2))["timeline"]
    assert timeline["left_out"] == 3
    dur = np.frombuffer(base64.b64decode(timeline["dur"]), np.float32)
    assert sorted(dur.tolist()) == [800, 1000]


def test_the_icicle_folds_equal_stacks(write):
    (trace,) = open_traces([write(EVENTS)], use_cache=False)
    tree = icicle(trace.events)
    columns = (tree[key] for key in ("parent", "name", "total", "calls"))
    rows = [(p, tree["names"][n], t, c) for p, n, t, c in zip(*columns, strict=True)]
    assert rows == [(-1, "outer", 1000, 1), (0, "inner", 600, 2)]


def test_a_cut_window_reads_back_as_the_same_events(write, tmp_path):
    traces = open_traces([write(EVENTS)], use_cache=False)
    file = tmp_path / "cut.json"
    assert write_cut(traces, [0], 450, 2100, file) == 3
    (again,) = open_traces([file], use_cache=False)
    t = again.events
    found = sorted(zip([t.names[n] for n in t.name.tolist()], t.start.tolist(), t.dur.tolist(), strict=True))
    assert found == [("</script><b>gemm", 2000, 500), ("inner", 500, 300), ("outer", 0, 1000)]
    assert t.correlation.max() == 4


def test_several_ranks_are_cut_side_by_side(write, tmp_path):
    traces = open_traces([write(EVENTS, name=f"r{i}.json", rank=i, world=2) for i in range(2)], use_cache=False)
    file = tmp_path / "cut.json"
    assert write_cut(traces, [0, 0], 0, 10_000, file) == 2 * len(EVENTS)
    document = json.loads(file.read_text())
    pids = {e["pid"] for e in document["traceEvents"] if e["ph"] == "X"}
    assert pids == {"rank 0 0", "rank 0 1", "rank 1 0", "rank 1 1"}
