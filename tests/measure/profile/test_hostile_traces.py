"""Whatever bytes come in: an answer with findings or an error that names its mend, never a crash."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seatrial.core.errors import FileFormatError, SeatrialError
from seatrial.measure.profile.analyse import analyse
from seatrial.measure.profile.open import open_traces

STEP = "execute_context_0(0)_generation_1(1)"
LINK = {"correlation": 5}


def x(cat, name, pid, tid, ts, dur, args):
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


GOOD = {
    "schemaVersion": 1,
    "distributedInfo": {"rank": 0, "world_size": 2},
    "traceEvents": [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "python"}},
        x("user_annotation", STEP, 1, 1, 1.5, 90.25, {}),
        x("cuda_runtime", "cudaLaunchKernel", 1, 1, 2, 3, LINK),
        x("kernel", "MatMulV3", 0, 7, 9.75, 20.5, LINK),
        {"ph": "i", "name": "[memory]", "pid": 1, "tid": 1, "ts": 10, "args": {"Device Id": 0, "Total Allocated": 77}},
        x("kernel", "ncclAllReduce", 0, 20, 19.75, 20.5, {}),
    ],
}
ODD = [b'"', b",", b"\n", b"\t", b"\xff", b"9" * 25, b"-", b"", b"\x00"]
CSV = (
    "Device_id,Stream ID,Name,Type,Accelerator Core,Start Time(us),Duration(us)\n"
    '0,47,mm,MatMulV3,AI_CORE,"1763600000000050.501\t",10.002\n'
    "0,47,ar,hcom_allReduce_,HCCL,1763600000000060.501,5\n"
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def survives(data, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            report = analyse(open_traces([path], use_cache=False), top=5)
        except SeatrialError:
            return
        for rank in report.ranks:
            for device in rank.devices:
                t = device.times
                assert 0 <= t.busy_ns <= t.span_ns
                assert t.idle_ns == t.span_ns - t.busy_ns
                assert all(0 <= k.share <= 1 for k in device.kernels)


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 12))
@example(54, 7)  # a number too large and a broken character in one piece
def test_mutated_bytes_of_a_trace(seed, many):
    chance = random.Random(seed)
    data = bytearray(json.dumps(GOOD).encode())
    for _ in range(many):
        at = chance.randrange(len(data))
        what = chance.randrange(3)
        if what == 0:
            data[at] = chance.randrange(256)
        elif what == 1:
            del data[at : at + chance.randrange(1, 9)]
        else:
            data[at:at] = chance.choice([b'"', b"{", b"}", b"]", b",", b"9" * 30, b"1e999", b"NaN", b"\xff", b"-"])
        if not data:
            return
    survives(bytes(data), "t.json")


@settings(max_examples=150)
@given(st.integers(1, 5), st.sampled_from(["ph", "cat", "name", "pid", "tid", "ts", "dur", "args"]), anything)
def test_any_value_in_any_field(row, field, value):
    document = json.loads(json.dumps(GOOD))
    document["traceEvents"][row][field] = value
    survives(json.dumps(document).encode("utf-8", "replace"), "t.json")


@settings(max_examples=60)
@given(st.sampled_from(["correlation", "Input Dims", "name", "Total Allocated", "Device Id"]), anything)
def test_any_value_in_any_argument(field, value):
    document = json.loads(json.dumps(GOOD))
    for event in document["traceEvents"]:
        event.setdefault("args", {})[field] = value
    survives(json.dumps(document).encode("utf-8", "replace"), "t.json")


@settings(max_examples=60)
@given(anything, anything)
def test_any_value_in_the_document_around_the_events(info, base):
    survives(json.dumps({**GOOD, "distributedInfo": info, "baseTimeNanoseconds": base}).encode(), "t.json")


@settings(max_examples=100)
@example(seed=0, many=2)  # a NUL in the header, which Python 3.10 does not read
@given(st.integers(0, 2**32), st.integers(1, 10))
def test_mutated_bytes_of_a_table(seed, many):
    chance = random.Random(seed)
    data = bytearray(CSV.encode())
    for _ in range(many):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(2)] = chance.choice(ODD)
    survives(bytes(data), "kernel_details.csv")


def test_a_damaged_zst_is_one_line(tmp_path):
    file = tmp_path / "t.json.zst"
    file.write_bytes(b"nothing that any zstd ever wrote")
    with pytest.raises(FileFormatError, match=r"zstd"):
        open_traces([file])
