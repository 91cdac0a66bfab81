"""An allocator event without a time is none at time 0: it is counted, and an unknown peak says why."""

from __future__ import annotations

import json

import pytest

KERNEL = {"ph": "X", "cat": "kernel", "name": "MatMulV3", "pid": 0, "tid": 7, "ts": 9.75, "dur": 20.5, "args": {}}
LATE = {**KERNEL, "ts": 1763600000000050.501}  # of these times a float has lost the nanoseconds: they are read as text


def seen(allocated, **fields):
    args = {"Device Id": 0, "Total Allocated": allocated}
    return {"ph": "i", "name": "[memory]", "pid": 1, "tid": 1, "args": args, **fields}


@pytest.fixture
def memory(tmp_path, answer):
    """The memory table of the trace's one device, and the findings."""

    def ask(*events, kernel=KERNEL):
        path = tmp_path / "t.pt.trace.json"
        path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": [kernel, *events]}))
        report = answer(path)
        (device,) = report.ranks[0].devices
        return device.memory, [f.message for f in report.findings if f.code == "T002"]

    return ask


@pytest.mark.parametrize("kernel", [KERNEL, LATE], ids=["float", "text"])
@pytest.mark.parametrize("fields", [{}, {"ts": None}, {"ts": "soon"}, {"ts": 1e300}], ids=str)
def test_an_event_without_a_time_is_counted_and_not_at_zero(memory, fields, kernel):
    table, dropped = memory(seen(77, **fields), seen(55, ts=11), kernel=kernel)
    assert dropped == ["1 dropped: allocator events without a time"]
    assert (table.allocator_events, table.peak_allocated_bytes, table.why) == (1, 55, "")


def test_where_none_has_a_time_the_peak_is_unknown_and_the_reason_is_not_that_nobody_asked(memory):
    table, _ = memory(seen(77), seen(78))
    assert (table.allocator_events, table.peak_allocated_bytes) == (0, None)
    assert "the file has 2 allocator events without a time" in table.why


def test_a_size_beyond_any_memory_is_counted_too(memory):
    table, dropped = memory(seen(1 << 63, ts=10))
    assert dropped == ["1 dropped: allocator events with a size beyond any memory"]
    assert table.peak_allocated_bytes is None
    assert "beyond any memory" in table.why


def test_the_other_reasons_stay_apart(memory):
    assert "was not asked for memory" in memory()[0].why
    elsewhere = seen(77, ts=10)
    elsewhere["args"]["Device Id"] = 3
    assert "no allocator event of this device" in memory(elsewhere)[0].why
