"""Reading Chrome JSON: exact times, the same in parallel, and every kind of damage a finding with the rest analysed."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.measure.profile import cache
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.readers import chrome, chunks, kineto

T0 = 4328559894992449


def kernels(many, seed=1):
    chance = random.Random(seed)
    return [
        (f"gemm_{chance.randrange(5)}", "kernel", 0, chance.choice([7, 20]), T0 + i * 1000, chance.randrange(900))
        for i in range(many)
    ]


def rows(trace):
    t = trace.events
    return sorted(
        (t.names[n], t.tracks[k].tid, s, d)
        for n, k, s, d in zip(t.name.tolist(), t.track.tolist(), t.start.tolist(), t.dur.tolist(), strict=True)
    )


def plain(events):
    return sorted((name, tid, start, dur) for name, _, _, tid, start, dur in events)


def codes_of(traces):
    return {f.code for t in traces for f in t.findings}


@pytest.mark.parametrize("chunk", [300, 1000, 100_000])
def test_every_event_arrives_with_its_exact_nanoseconds_whatever_the_chunk_size(write, monkeypatch, chunk):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    events = kernels(200)
    (trace,) = open_traces([write(events)])
    assert rows(trace) == plain(events)
    assert trace.rank == 0


def test_the_parallel_reader_gives_what_the_serial_one_gives(write, monkeypatch):
    path = write(kernels(3000))
    serial = kineto.to_trace(chrome.read(path, processes=1), path)
    monkeypatch.setattr(chunks, "CHUNK", 60_000)
    monkeypatch.setattr(chrome, "PARALLEL_FROM", 1000)
    monkeypatch.setattr(chrome, "WINDOW", 5_000)
    parallel = kineto.to_trace(chrome.read(path, processes=3), path)
    assert rows(parallel) == rows(serial) == plain(kernels(3000))
    assert parallel.findings == []


def test_a_separator_inside_a_string_does_not_lose_an_event(write, monkeypatch):
    events = kernels(100)
    events[50] = ('},\n{"ph": "X", "na', "kernel", 0, 7, T0, 5)
    path = write(events)
    monkeypatch.setattr(chunks, "CHUNK", 2000)
    for processes in (1, 2):
        monkeypatch.setattr(chrome, "PARALLEL_FROM", 1000 if processes > 1 else 1 << 40)
        monkeypatch.setattr(chrome, "WINDOW", 500)
        trace = kineto.to_trace(chrome.read(path, processes=processes), path)
        assert len(trace.events) >= 99
        assert len(trace.events) == 100 or trace.findings


def test_gzip_reads_as_plain_does(write, tmp_path):
    path = write(kernels(50))
    packed = tmp_path / "p.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert rows(open_traces([packed])[0]) == plain(kernels(50))


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.77, 0.9])
def test_a_killed_profiler_costs_its_last_event_and_is_said(write, keep):
    events = kernels(300)
    whole = len(write(events).read_text())
    cut = int(whole * keep)
    (trace,) = open_traces([write(events, name="cut.json", cut=cut)])
    assert "T001" in codes_of([trace])
    expected = int(300 * keep)
    assert abs(len(trace.events) - expected) <= 4
    assert set(rows(trace)) <= set(plain(events))


def test_a_torn_gzip_keeps_what_was_unpacked(write, tmp_path):
    data = gzip.compress(write(kernels(20_000)).read_bytes())
    packed = tmp_path / "torn.json.gz"
    packed.write_bytes(data[: len(data) // 2])
    (trace,) = open_traces([packed])
    assert "T001" in codes_of([trace])
    assert 5000 < len(trace.events) < 20_000


def test_damage_in_the_middle_is_stepped_over(write):
    path = write(kernels(400))
    text = path.read_text()
    middle = text.index("gemm", len(text) // 2)
    path.write_text(text[:middle] + '"{{[' + text[middle:])
    (trace,) = open_traces([path])
    assert len(trace.events) >= 395
    assert "T002" in codes_of([trace])


def test_a_bare_array_without_its_end_is_read(tmp_path):
    path = tmp_path / "trace_view.json"
    path.write_text('[{"ph":"X","name":"a","cat":"kernel","pid":0,"tid":1,"ts":"1763600000000050.501","dur":2.5},')
    (trace,) = open_traces([path])
    assert trace.events.start.tolist() == [1763600000000050501]
    assert trace.events.dur.tolist() == [2500]
    assert "T001" in codes_of([trace])


def test_odd_types_are_counted_and_the_others_kept(tmp_path):
    good = {"ph": "X", "name": "a", "cat": "kernel", "pid": 0, "tid": 1, "ts": 5, "dur": 1}
    odd = [7, None, {**good, "ts": None}, {**good, "ts": "soon"}, {**good, "dur": -3}, {**good, "pid": {"x": 1}}]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"traceEvents": [good, *odd, good]}))
    (trace,) = open_traces([path])
    assert len(trace.events) == 3
    assert "T002" in codes_of([trace])


def test_an_event_ten_years_away_is_set_aside_and_the_span_stays(write, answer):
    ten_years = 10 * 365 * 86400 * 10**9
    events = [*kernels(40), ("gemm_9", "kernel", 0, 7, T0 + ten_years, 100), ("gemm_9", "kernel", 0, 7, T0, ten_years)]
    report = answer(write(events))
    assert {"T004"} <= {f.code for f in report.findings}
    assert report.ranks[0].devices[0].times.span_ns < 50_000


def test_a_trace_of_the_year_2036_as_a_whole_is_just_read(write):
    events = [(n, c, p, t, s + 2_100_000_000_000_000_000, d) for n, c, p, t, s, d in kernels(30)]
    (trace,) = open_traces([write(events)])
    assert rows(trace) == plain(events)


def test_nanoseconds_written_as_microseconds_are_doubted(write, answer):
    events = [("gemm", "kernel", 0, 7, (T0 + i * 10**6) * 1000, 400_000 * 1000) for i in range(40)]
    assert "T005" in {f.code for f in answer(write(events)).findings}


def test_a_file_that_is_no_trace_is_refused_by_name(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"hello": 1}')
    with pytest.raises(FileFormatError, match=r"x\.json"):
        open_traces([path])
    with pytest.raises(UsageError, match="does not exist"):
        open_traces([tmp_path / "absent.json"])


def test_an_empty_trace_says_that_nothing_can_be_said(write, answer):
    report = answer(write([]))
    assert "T006" in {f.code for f in report.findings}
    assert report.ranks[0].devices == ()


def test_the_cache_answers_the_same_and_not_for_a_changed_file(write, monkeypatch):
    path = write(kernels(60))
    (trace,) = open_traces([path], use_cache=False)
    cache.save(trace, path)
    again = cache.load(path)
    assert again is not None
    assert rows(again) == rows(trace)
    path.write_text(path.read_text() + " ")
    assert cache.load(path) is None
    cache.cache_file(path).write_bytes(b"PK damaged")
    assert cache.load(path) is None


def test_torch_npu_lanes_get_their_kinds_and_derived_ones_are_left_out(tmp_path, answer):
    def meta(pid, name, label="NPU 3"):
        return [
            {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}},
            {"ph": "M", "name": "process_labels", "pid": pid, "tid": 0, "args": {"labels": label}},
        ]

    def x(pid, tid, name, ts, dur):
        return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": f"{1763600000000000 + ts}.000\t", "dur": dur}

    events = [
        *meta(1, "Ascend Hardware"),
        *meta(2, "Communication"),
        *meta(3, "CANN", "CPU"),
        *meta(4, "Overlap Analysis"),
        {"ph": "M", "name": "thread_name", "pid": 2, "tid": 5, "args": {"name": "Plane 0"}},
        x(1, 47, "MatMulV3", 0, 10),
        x(1, 47, "EVENT_WAIT", 10, 50),
        x(1, 47, "MEMCPY_ASYNC", 60, 5),
        x(2, 4, "hcom_allReduce__746_0_1", 5, 10),
        x(2, 5, "Reduce_Inline", 5, 3),
        x(3, 9, "aclrtLaunchKernel", 0, 1),
        x(4, 1, "Computing", 0, 10),
    ]
    path = tmp_path / "trace_view.json"
    path.write_text(json.dumps(events))
    (device,) = answer(path).ranks[0].devices
    assert device.device == 3
    t = device.times
    assert (t.busy_ns, t.compute_ns, t.communication_ns, t.overlap_ns, t.copy_ns) == (
        20_000,
        10_000,
        10_000,
        5_000,
        5_000,
    )
    assert t.span_ns == 65_000
    assert [c.name for c in device.communication] == ["hcom_allReduce__746_0_1"]


def test_an_operator_that_only_calls_itself_is_one_call_as_torch_counts_it(write, answer):
    path = write(
        [
            ("aten::div_", "cpu_op", 1, 1, 1000, 100),
            ("aten::div_", "cpu_op", 1, 1, 1010, 80),
            ("aten::div_", "cpu_op", 1, 1, 1020, 60),
            ("aten::add", "cpu_op", 1, 1, 2000, 100),
            ("aten::add", "cpu_op", 1, 1, 2010, 20),
            ("aten::add", "cpu_op", 1, 1, 2050, 20),
        ]
    )
    rows = {r.name: (r.calls, r.self_ns, r.total_ns) for r in answer(path).ranks[0].operators}
    assert rows == {"aten::div_": (1, 100, 100), "aten::add": (3, 100, 140)}
