"""What the categories and processes of a Chrome trace mean: torch/Kineto's and torch_npu's `trace_view.json`.

Kineto names an event's category; its device events have the device as pid and the stream as tid. torch_npu puts device
tasks, without a category, into a process named "Ascend Hardware", collectives into "Communication" or "HCCL", host API
calls into "CANN"; "Overlap Analysis" and the counters are derived from these and are left out, or time counts twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.core.finding import Finding
from seatrial.measure.profile import codes
from seatrial.measure.profile.events import EventTable, Kind, MemoryPoints, Trace, Track
from seatrial.measure.profile.readers.chrome import Read
from seatrial.measure.profile.readers.columns import BEYOND, UNDATED
from seatrial.measure.profile.readers.find import rank_of

CATEGORIES = {
    "kernel": Kind.KERNEL,
    "gpu_memcpy": Kind.COPY,
    "gpu_memset": Kind.MEMSET,
    "cpu_op": Kind.CPU_OP,
    "operator": Kind.CPU_OP,
    "cuda_runtime": Kind.RUNTIME,
    "cuda_driver": Kind.RUNTIME,
    "privateuse1_runtime": Kind.RUNTIME,
    "privateuse1_driver": Kind.RUNTIME,
    "xpu_runtime": Kind.RUNTIME,
    "mtia_runtime": Kind.RUNTIME,
    "hip_runtime": Kind.RUNTIME,
    "enqueue": Kind.RUNTIME,
    "dequeue": Kind.RUNTIME,
    "python_function": Kind.PYTHON,
    "user_annotation": Kind.ANNOTATION,
    "gpu_user_annotation": Kind.DEVICE_ANNOTATION,
    "cuda_sync": Kind.DEVICE_WAIT,
    "mtia_ccp_events": Kind.KERNEL,
    "concurrent_kernel": Kind.KERNEL,
}
DEVICE_CATEGORIES = {"kernel", "gpu_memcpy", "gpu_memset", "concurrent_kernel", "mtia_ccp_events"}
IGNORED_CATEGORIES = {"Trace", "overhead", "cuda_profiler_range", "cpu_instant_event", ""}
DERIVED_PROCESSES = re.compile(r"overlap analysis|ai core freq|acc_pmu|hbm|llc|npu mem|pcie|sio|qos|biu|ddr", re.I)
ASCEND_WAITS = re.compile(
    r"^(EVENT_WAIT|Notify_Wait|NOTIFY_WAIT|CAPTURE_WAIT|EVENT_RECORD|Notify_Record|PLACE_HOLDER)", re.I
)
ASCEND_COPIES = re.compile(r"MEMCPY|memcpy|SDMA", re.I)
DEVICE_LABEL = re.compile(r"(?:NPU|GPU|device)\s*(\d+)", re.I)


def to_trace(read: Read, path: Path) -> Trace:
    """Give every event its kind and every track its device; says as findings what was dropped."""
    part = read.part
    columns = part.columns
    findings: list[Finding] = []
    kinds = np.array([CATEGORIES.get(label, Kind.OTHER) for label in part.labels] or [Kind.OTHER], np.uint8)
    label = columns.pop("label")
    kind = kinds[label] if len(label) else np.empty(0, np.uint8)
    process, thread, labels = _meta(part.meta)
    on_device = np.array([text in DEVICE_CATEGORIES for text in part.labels] or [False])
    device_tracks = set(np.unique(columns["track"][on_device[label]]).tolist()) if len(label) else set()
    tracks, ascend = [], False
    for index, (pid, tid) in enumerate(part.tracks):
        name = process.get(pid, "")
        device = -1
        rows = None
        if name in {"Ascend Hardware", "Communication", "HCCL", "CANN"} or DERIVED_PROCESSES.search(name):
            ascend |= name in {"Ascend Hardware", "CANN"}
            rows = columns["track"] == index
            device = _ascend(
                kind, rows, name, thread.get((pid, tid), ""), columns["name"], part.names, labels.get(pid, "")
            )
        elif index in device_tracks:
            device = pid if isinstance(pid, int) else 0
        tracks.append(Track(pid=pid, tid=tid, device=device, process=name, thread=thread.get((pid, tid), "")))
    table = EventTable(
        start=columns["start"],
        dur=columns["dur"],
        name=columns["name"],
        kind=kind,
        track=columns["track"],
        correlation=columns["correlation"],
        shape=columns["shape"],
        names=part.names,
        tracks=tracks,
        shapes=part.shapes,
    )
    unknown = [text for text in part.labels if text not in CATEGORIES and text not in IGNORED_CATEGORIES]
    if unknown and not ascend:
        findings.append(codes.unknown_categories(path.name, unknown))
    kept = table.kind != Kind.OTHER
    if not kept.all():
        part.counts["events without a meaning here"] = int((~kept).sum())
        table = table.take(kept)
    if read.torn:
        findings.append(codes.torn(path.name, read.lost_bytes))
    for what in ("damaged stretches dropped", "negative durations", "times outside any calendar"):
        if part.counts.get(what):
            findings.append(codes.dropped(path.name, what, part.counts[what]))
    for what in ("times that are no number", "elements that are no event", UNDATED, BEYOND):
        if part.counts.get(what):
            findings.append(codes.dropped(path.name, what, part.counts[what]))
    pairs = sum(many for what, many in part.counts.items() if what in {"ph 'B'", "ph 'E'"})
    if pairs:
        findings.append(codes.dropped(path.name, "begin/end events, which no profiler read here writes", pairs))
    rank, world = _rank(read.document, path)
    base = read.document.get("baseTimeNanoseconds")
    return Trace(
        events=table,
        sources=(str(path),),
        layout="torch_npu trace_view" if ascend else "chrome",
        rank=rank,
        world_size=world,
        epoch_ns=base if isinstance(base, int) and 0 < base < 1 << 62 else 0,
        memory=_memory(part.memory),
        findings=findings,
        counts=part.counts,
    )


def _meta(rows: list[list[Any]]) -> tuple[dict[Any, str], dict[Any, str], dict[Any, str]]:
    """Names of processes, of threads, and labels of processes ("CPU", "NPU 0")."""
    process: dict[Any, str] = {}
    thread: dict[Any, str] = {}
    labels: dict[Any, str] = {}
    for name, pid, tid, value in rows:
        if name == "process_name" and isinstance(value, str):
            process[pid] = value
        elif name == "thread_name" and isinstance(value, str):
            thread[(pid, tid)] = value
        elif name == "process_labels" and isinstance(value, str):
            labels[pid] = value
    return process, thread, labels


def _ascend(
    kind: np.ndarray, rows: np.ndarray, process: str, thread: str, name: np.ndarray, names: list[str], label: str
) -> int:
    """Set the kinds of one of torch_npu's tracks; its device, or -1."""
    if process == "CANN":
        kind[rows] = Kind.RUNTIME
        return -1
    if process not in {"Ascend Hardware", "Communication", "HCCL"}:
        kind[rows] = Kind.OTHER
        return -1
    found = DEVICE_LABEL.search(label)
    device = int(found.group(1)) if found and len(found.group(1)) < 6 else 0
    if process != "Ascend Hardware":
        # The planes under a group are the parts of the collectives in the group's own row.
        kind[rows] = Kind.OTHER if "Plane" in thread else Kind.COMMUNICATION
        return device
    waits = np.array([bool(ASCEND_WAITS.search(text)) for text in names], np.bool_)
    copies = np.array([bool(ASCEND_COPIES.search(text)) for text in names], np.bool_)
    ids = name[rows]
    kind[rows] = np.where(waits[ids], Kind.DEVICE_WAIT, np.where(copies[ids], Kind.COPY, Kind.KERNEL)).astype(np.uint8)
    return device


def _rank(document: dict[str, Any], path: Path) -> tuple[int, int]:
    """Rank and world size: from `distributedInfo`, else from the file's or folder's name; -1 and 0 if neither says."""
    info = document.get("distributedInfo")
    rank, world = -1, 0
    if isinstance(info, dict):
        rank = info["rank"] if isinstance(info.get("rank"), int) and 0 <= info["rank"] < 1 << 20 else -1
        world = info["world_size"] if isinstance(info.get("world_size"), int) and info["world_size"] > 0 else 0
    if rank < 0:
        rank = rank_of(path)
    return rank, world


def _memory(rows: list[list[int]]) -> MemoryPoints | None:
    if not rows:
        return None
    table = np.array(rows, np.int64)
    return MemoryPoints(time=table[:, 0], device=table[:, 1], allocated=table[:, 2], reserved=table[:, 3])
