"""Ascend's CSV tables and databases, in the column names of several CANN generations."""

from __future__ import annotations

import sqlite3

import pytest

pytest.importorskip("polars")

from seatrial.core.errors import FileFormatError
from seatrial.measure.profile.open import open_traces
from seatrial.measure.profile.readers.tables import plain

KERNEL_DETAILS = (
    "Step Id,Device_id,Model ID,Task ID,Stream ID,Name,Type,OP State,Accelerator Core,Start Time(us),Duration(us),"
    "Wait Time(us),Block Dim,Input Shapes,Moon Phase\n"
    ',2,1,1,47,aclnnMm_MatMulV3_MatMulV3,MatMulV3,dynamic,AI_CORE,"1763600000000050.501\t",10.002,0.5,24,"""1,2;3""",x\n'
    ',2,1,2,47,hcom_allReduce__746_0_1,hcom_allReduce_,N/A,HCCL,"1763600000000055.501\t",10.0,0,0,N/A,x\n'
    ",2,1,3,62,aclnnCopy,N/A,N/A,SDMA,1763600000000070.501\t,1.0,0,0,N/A,x\n"
    ",3,1,3,62,EVENT_WAIT,EVENT_WAIT,N/A,EVENT_WAIT,1763600000000070.501\t,1.0,0,0,N/A,x\n"
)
OP_SUMMARY = (
    "Device_id,Model ID,Task ID,Stream ID,Op Name,OP Type,OP State,Task Type,Task Start Time(us),Task Duration(us),"
    "Task Wait Time(us),Block Dim,Mix Block Dim,aicore_time(us)\n"
    '0,1,1,5,aclnnAddRmsNorm_AddRmsNorm_AddRmsNorm,AddRmsNorm,dynamic,AI_VECTOR_CORE,"1763600000000100.010\t",6.5,1,40,0,0\n'
)
TASK_TIME = (
    "Device_id,kernel_name,kernel_type,stream_id,task_id,task_time(us),task_start(us),task_stop(us)\n"
    '0,SwiGlu_17,KERNEL_AIVEC,11,8,5.250,"1763600000000100.000\t","1763600000000105.250\t"\n'
    "0,N/A,EVENT_WAIT,11,9,100.0,1763600000000106.000\t,1763600000000206.000\t\n"
)


def put(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_kernel_details_are_exact_and_every_kind_is_known(tmp_path, answer):
    path = put(tmp_path, "rank5_ascend_pt/ASCEND_PROFILER_OUTPUT/kernel_details.csv", KERNEL_DETAILS)
    (trace,) = open_traces([path])
    assert trace.rank == 5
    assert trace.events.start.tolist()[:2] == [1763600000000050501, 1763600000000055501]
    assert trace.events.dur.tolist()[0] == 10_002
    (finding,) = [f for f in trace.findings if f.code == "T012"]
    assert "Moon Phase" in finding.message
    assert "Wait" not in finding.message
    (device,) = answer(path).ranks[0].devices
    assert device.device == 2
    t = device.times
    assert (t.compute_ns, t.communication_ns, t.overlap_ns, t.copy_ns) == (10_002, 10_000, 5_002, 1_000)
    assert {k.name for k in device.kernels} == {"MatMulV3", "hcom_allReduce_", "aclnnCopy"}


def test_op_summary_slices_are_joined_and_task_time_reads_its_own_columns(tmp_path, answer):
    for i in range(3):
        put(tmp_path, f"out/op_summary_slice_{i}_20251120.csv", OP_SUMMARY)
    (trace,) = open_traces([tmp_path / "out"])
    assert len(trace.events) == 3
    assert len(trace.sources) == 3
    path = put(tmp_path, "task/task_time_20251120.csv", TASK_TIME)
    (device,) = answer(path).ranks[0].devices
    assert [(k.name, k.self_ns) for k in device.kernels] == [("SwiGlu_17", 5_250)]


def test_statistics_alone_and_missing_columns_are_refused_with_what_is_there(tmp_path):
    put(tmp_path, "s/op_statistic_1.csv", "OP Type,Count\nMatMul,3\n")
    with pytest.raises(FileFormatError, match="no column totaltime"):
        open_traces([tmp_path / "s"])
    with pytest.raises(FileFormatError, match="no column for start"):
        open_traces([put(tmp_path, "kernel_details.csv", "Name,Duration(us)\na,1\n")])


def test_rows_without_a_time_are_dropped_and_counted(tmp_path):
    path = put(tmp_path, "kernel_details.csv", KERNEL_DETAILS + ",2,1,3,62,Cast,Cast,N/A,AIV,N/A,1.0,0,0,N/A,x\n")
    (trace,) = open_traces([path])
    assert len(trace.events) == 4
    assert "T002" in {f.code for f in trace.findings}


@pytest.mark.parametrize(
    "column", ["Start Time(us)", "Task Start Time(us)", "task_start(us)\t", "\ufeffStart Time(us)"]
)
def test_column_names_of_all_generations_mean_the_same(column):
    assert plain(column) in {"starttime", "taskstarttime", "taskstart"}


def test_a_database_gives_kernels_collectives_and_host_calls(tmp_path, answer):
    path = tmp_path / "msprof_20251120.db"
    base = sqlite3.connect(path)
    base.executescript(
        """
        CREATE TABLE STRING_IDS (id INTEGER, value TEXT);
        INSERT INTO STRING_IDS VALUES (1,'MatMulV3'),(2,'AI_CORE'),(3,'aclnnMm'),(4,'EVENT_WAIT'),(5,'hcom_allReduce_'),
            (6,'aclrtLaunchKernel'),(7,'g0'),(8,'Reduce_Inline');
        CREATE TABLE TASK (startNs INT, endNs INT, deviceId INT, connectionId INT, globalTaskId INT, globalPid INT,
            taskType INT, contextId INT, streamId INT, taskId INT, modelId INT);
        INSERT INTO TASK VALUES (1000,2000,1,11,1,9,2,0,5,1,0),(2000,9000,1,12,2,9,4,0,5,2,0),
            (1500,1600,1,13,3,9,8,0,6,3,0),(NULL,5,1,13,4,9,8,0,6,3,0);
        CREATE TABLE COMPUTE_TASK_INFO (name INT, globalTaskId INT, blockDim INT, opType INT);
        INSERT INTO COMPUTE_TASK_INFO VALUES (3,1,24,1);
        CREATE TABLE COMMUNICATION_TASK_INFO (name INT, globalTaskId INT);
        INSERT INTO COMMUNICATION_TASK_INFO VALUES (8,3);
        CREATE TABLE COMMUNICATION_OP (opName INT, startNs INT, endNs INT, connectionId INT, groupName INT, opType INT,
            deviceId INT);
        INSERT INTO COMMUNICATION_OP VALUES (5,1500,3000,13,7,5,1);
        CREATE TABLE CANN_API (startNs INT, endNs INT, type INT, globalTid INT, connectionId INT, name INT);
        INSERT INTO CANN_API VALUES (500,600,1,77,11,6);
        CREATE TABLE RANK_DEVICE_MAP (rankId INT, deviceId INT);
        INSERT INTO RANK_DEVICE_MAP VALUES (3,1);
        """
    )
    base.commit()
    base.close()
    report = answer(path)
    (rank,) = report.ranks
    (device,) = rank.devices
    t = device.times
    assert rank.rank == 3
    assert (t.compute_ns, t.communication_ns, t.overlap_ns, t.busy_ns) == (1000, 1500, 500, 2000)
    assert device.dispatch.queued_median_ns == 400
    assert "T002" in {f.code for f in report.findings}


def test_a_file_that_is_no_database_or_has_no_events_is_refused(tmp_path):
    path = tmp_path / "analysis.db"
    sqlite3.connect(path).executescript("CREATE TABLE Unrelated (x INT);").connection.close()
    with pytest.raises(FileFormatError, match="Unrelated"):
        open_traces([path])
    path.write_bytes(b"not a database at all" * 99)
    with pytest.raises(FileFormatError):
        open_traces([path])
