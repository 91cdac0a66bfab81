"""The totals that Ascend's tools write themselves: op_statistic, step_trace_time, communication.json and their kin."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("polars")

from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import FileFormatError
from seatrial.measure.profile.diff import compare
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.vendor.rows import nanoseconds, plain

OP_STATISTIC = (
    "Device_id,OP Type,Core Type,Count,Total Time(us),Min Time(us),Avg Time(us),Max Time(us),Ratio(%)\n"
    "2,MatMulV3,AI_CORE,40,12000.125\t,1.0,300.0,600.0,60.0\n"
    "2,RmsNorm,AI_VECTOR_CORE,80,8000.5,1.0,100.0,200.0,40.0\n"
)
COMMUNICATION_STATISTIC = (
    "Device_id,OP Type,Count,Total Time(us),Min Time(us),Avg Time(us),Max Time(us),Ratio(%)\n"
    "2,hcom_allReduce_,16,3200.250,100,200,300,100.0\n"
)
STEP_TRACE = (
    "Device_id,Step,Computing,Communication(Not Overlapped),Overlapped,Communication,Free,Stage,Bubble,"
    "Communication(Not Overlapped and Exclude Receive),Preparing\n"
    "2,,12000.5,300.25,10.0,310.25,3000,15300.75,0,300.25,50\n"
)
OPERATOR_DETAILS = (
    "Name,Input Shapes,Call Stack,Host Self Duration(us),Host Total Duration(us),Device Self Duration(us),"
    "Device Total Duration(us),Device Self Duration With AICore(us),Device Total Duration With AICore(us)\n"
    'aten::linear,"1,2;3","model.py(10): forward;\nrun.py(3): main",100.0,120.0,80.0,50.0,80.0,50.0\n'
    "aten::linear,,,10.0,15.0,8.0,5.0,8.0,5.0\n"
    "aten::relu,,,2.0,2.0,0,0,0,0\n"
)


def collective(elapsed, transit, wait, carried):
    return {
        "Communication Time Info": {
            "Start Timestamp(us)": 1763600000000000.5,
            "Elapse Time(ms)": elapsed,
            "Transit Time(ms)": transit,
            "Wait Time(ms)": wait,
            "Synchronization Time(ms)": wait / 2,
            "Idle Time(ms)": elapsed - transit - wait,
            "Wait Time Ratio": 0.5,
            "Synchronization Time Ratio": 0.2,
        },
        "Communication Bandwidth Info": {
            "HCCS": {
                "Transit Size(MB)": carried,
                "Transit Time(ms)": transit,
                "Bandwidth(GB/s)": 1,
                "Size Distribution": {},
            },
            "RDMA": {"Transit Size(MB)": 0, "Transit Time(ms)": 0, "Bandwidth(GB/s)": 0, "Size Distribution": {}},
        },
    }


COMMUNICATION = {
    "step1": {
        "p2p": {},
        "collective": {
            "hcom_allReduce__303_0_1@15244899533746605158": collective(1.0, 0.25, 0.5, 16.777216),
            "hcom_allReduce__303_1_1@15244899533746605158": collective(3.0, 0.75, 1.5, 16.777216),
            "Total Op Info": collective(4.0, 1.0, 2.0, 33.554432),
        },
    }
}
FILES = {
    "op_statistic.csv": OP_STATISTIC,
    "communication_statistic_20251120.csv": COMMUNICATION_STATISTIC,
    "step_trace_time.csv": STEP_TRACE,
    "operator_details.csv": OPERATOR_DETAILS,
    "communication.json": json.dumps(COMMUNICATION),
}
KERNELS = (
    "Step Id,Device_id,Stream ID,Name,Type,Accelerator Core,Start Time(us),Duration(us)\n"
    ",2,47,aclnnMm_1,MatMulV3,AI_CORE,1763600000000000.000\t,{0}\n"
    ",2,47,aclnnRms_1,RmsNorm,AI_VECTOR_CORE,1763600000020000.000\t,8000.5\n"
)


@pytest.fixture
def folder(tmp_path):
    """Writes the tables, and more, into torch_npu's folder of rank 3; None leaves a file out."""

    def make(**changed):
        out = tmp_path / "rank3_ascend_pt" / "ASCEND_PROFILER_OUTPUT"
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (FILES | {k.replace("__", "."): v for k, v in changed.items()}).items():
            if text is not None:
                (out / name).write_text(text)
        return out

    return make


def test_every_total_is_read_to_the_nanosecond(folder, answer):
    report = answer(folder())
    (rank,) = report.ranks
    v = rank.vendor
    assert rank.rank == 3
    assert [(o.type, o.family, o.core, o.calls, o.total_ns) for o in v.operators] == [
        ("MatMulV3", "gemm", "AI_CORE", 40, 12_000_125),
        ("RmsNorm", "norm", "AI_VECTOR_CORE", 80, 8_000_500),
    ]
    assert [(c.type, c.calls, c.total_ns) for c in v.collectives] == [("hcom_allReduce_", 16, 3_200_250)]
    (step,) = v.steps
    assert (step.computing_ns, step.exposed_ns, step.overlapped_ns) == (12_000_500, 300_250, 10_000)
    assert (step.free_ns, step.preparing_ns) == (3_000_000, 50_000)
    assert [(o.name, o.calls, o.host_self_ns, o.device_self_ns) for o in v.host_operators] == [
        ("aten::linear", 2, 110_000, 88_000),
        ("aten::relu", 1, 2_000, 0),
    ]


def test_a_collective_is_counted_once_although_the_file_also_has_the_sum(folder, answer):
    v = answer(folder()).ranks[0].vendor
    (times,) = v.collective_times
    assert (times.type, times.calls) == ("hcom_allReduce", 2)
    assert (times.elapsed_ns, times.transit_ns, times.wait_ns) == (4_000_000, 1_000_000, 2_000_000)
    assert (times.synchronization_ns, times.idle_ns) == (1_000_000, 1_000_000)
    (link,) = v.links
    assert (link.transport, link.bytes, link.transit_ns) == ("HCCS", 33_554_432, 1_000_000)
    assert link.bandwidth_gb_s == pytest.approx(33.554432)


def test_totals_alone_answer_and_say_what_they_cannot(folder, answer):
    report = answer(folder())
    assert not report.ranks[0].devices
    assert {f.code for f in report.findings} == {"T018"}


def test_totals_that_are_not_those_of_the_events_are_a_finding(folder, answer):
    same = answer(folder(kernel_details__csv=KERNELS.format("12000.125")))
    assert not {"T018", "T019"} & {f.code for f in same.findings}
    half = answer(folder(kernel_details__csv=KERNELS.format("6000.0")))
    (finding,) = [f for f in half.findings if f.code == "T019"]
    assert "MatMulV3 6.000 ms in 1 calls read, 12.000 ms in 40 there" in finding.message
    assert half.ranks[0].devices
    assert half.ranks[0].vendor is not None


def test_one_broken_table_loses_no_other(folder, answer):
    report = answer(folder(communication__json="{", step_trace_time__csv="Step,Computing\n1,2\n"))
    assert sorted(f.place.rsplit("/", 1)[1] for f in report.findings if f.code == "T013") == [
        "communication.json",
        "step_trace_time.csv",
    ]
    assert report.ranks[0].vendor.operators


def test_a_table_that_nothing_reads_is_named(folder, answer):
    report = answer(folder(api_statistic__csv="x\n1\n", profiler_metadata__json="{}"))
    (finding,) = [f for f in report.findings if f.code == "T020"]
    assert "api_statistic.csv" in finding.message
    assert "profiler_metadata" not in finding.message


def test_one_table_by_name_is_read_and_a_broken_one_alone_is_an_error(folder, answer):
    out = folder()
    assert answer(out / "op_statistic.csv").ranks[0].vendor.operators
    (out / "op_statistic.csv").write_text("OP Type,Count,Total Time(us)\nA,x,1\n")
    with pytest.raises(FileFormatError, match="line 2"):
        open_traces([out / "op_statistic.csv"])


def test_two_captures_of_which_only_totals_are_left_can_still_be_compared(folder, answer, tmp_path):
    a = answer(folder() / "op_statistic.csv", top=1000)
    other = tmp_path / "b"
    other.mkdir()
    (other / "op_statistic_1.csv").write_text(OP_STATISTIC.replace("12000.125", "6000.0625"))
    b = answer(other, top=1000)
    found = compare(a, b, target="MatMulV3", predicted=0.5)
    assert {r.name: r.ratio for r in found.kernels} == {"MatMulV3": pytest.approx(0.5), "RmsNorm": 1.0}
    assert found.busy_ratio == pytest.approx(14_000_562 / 20_000_625)
    assert found.prediction.outcome.verdict.value == "inconclusive"


@given(st.text(max_size=40), st.binary(max_size=400))
def test_any_bytes_in_any_table_are_read_or_refused_in_words(tmp_path_factory, head, body):
    folder = tmp_path_factory.mktemp("v")
    for name, text in FILES.items():
        first = text.split("\n", 1)[0].encode() + b"\n" if name.endswith("csv") else b'{"step1": {"collective": {"a": '
        for content in (first + body, head.encode("utf-8", "replace") + body):
            (folder / name).write_bytes(content)
            said = name
            try:
                open_traces([folder / name], use_cache=False)
            except FileFormatError as exc:
                said = exc.one_line()
            assert name in said


def test_a_time_that_is_not_said_is_no_zero(folder, answer):
    silent = json.loads(json.dumps(COMMUNICATION))
    del silent["step1"]["collective"]["hcom_allReduce__303_0_1@15244899533746605158"]["Communication Time Info"][
        "Wait Time(ms)"
    ]
    blank = OP_STATISTIC.replace("12000.125\t", "")
    report = answer(folder(communication__json=json.dumps(silent), op_statistic__csv=blank))
    said = " ".join(f.message for f in report.findings if f.code == "T013")
    assert "Wait Time(ms)" in said
    assert "op_statistic.csv, line 2" in said


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e30", "1e9999999", "-1e9999999", "12x", "--"])
def test_no_number_becomes_no_time(text):
    with pytest.raises(ValueError, match="no "):
        nanoseconds(text)


def test_only_a_unit_is_taken_off_a_columns_name():
    assert plain("Total Time(us)\t") == "totaltime"
    assert plain("Communication(Not Overlapped)") != plain("Communication")
