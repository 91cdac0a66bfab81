"""A window of a profile as Chrome JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

In: traces, a window in nanoseconds after the first event, a file. Out: how many events were written. An event that
reaches into the window is written whole; ranks become processes named after them, aligned as the report aligned them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from seatrial.core.atomic import ordinary_mode
from seatrial.measure.profile.events import Kind, Trace

CATEGORY = {
    Kind.KERNEL: "kernel",
    Kind.COMMUNICATION: "kernel",
    Kind.COPY: "gpu_memcpy",
    Kind.MEMSET: "gpu_memset",
    Kind.DEVICE_WAIT: "cuda_sync",
    Kind.CPU_OP: "cpu_op",
    Kind.RUNTIME: "cuda_runtime",
    Kind.PYTHON: "python_function",
    Kind.ANNOTATION: "user_annotation",
    Kind.DEVICE_ANNOTATION: "gpu_user_annotation",
    Kind.OTHER: "other",
}


def write_cut(traces: list[Trace], offsets: list[int], first_ns: int, last_ns: int, file: Path) -> int:
    """Write it, atomically; `offsets` are added to each trace's times. Raises OSError as the system says."""
    begins = [int(t.events.start.min()) + o for t, o in zip(traces, offsets, strict=True) if len(t.events)]
    base = min(begins, default=0)
    written = 0
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".tmp", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            ordinary_mode(out.fileno())
            ranks = [t.rank for t in traces if t.rank >= 0]
            info = {"rank": ranks[0], "world_size": traces[0].world_size or 1} if len(ranks) == 1 else {}
            out.write('{"schemaVersion": 1, "distributedInfo": ' + json.dumps(info) + ', "traceEvents": [\n')
            separator = ""
            for number, (trace, offset) in enumerate(zip(traces, offsets, strict=True)):
                for line in _lines(trace, offset, number, len(traces) > 1, base, first_ns, last_ns):
                    out.write(separator + line)
                    separator = ",\n"
                    written += line.startswith('{"ph": "X"')
            out.write("\n]}\n")
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return written


def _lines(trace: Trace, offset: int, number: int, many: bool, base: int, first_ns: int, last_ns: int) -> list[str]:
    table = trace.events
    start = table.start + (offset - base)
    rows = np.flatnonzero((start < last_ns) & (start + table.dur >= first_ns))
    out = []
    names = [json.dumps(name) for name in table.names]
    pids: list[int | str] = []
    for track in table.tracks:
        device = track.device if track.device >= 0 else track.pid
        # Ranks are processes of one file: two of them may hold the same pid or device number.
        pids.append(f"rank {trace.rank if trace.rank >= 0 else number} {device}" if many else device)
    for track in np.unique(table.track[rows]).tolist():
        row, pid = table.tracks[track], json.dumps(pids[track])
        for what, said in (("process_name", row.process), ("thread_name", row.thread)):
            if said:
                args = f'"args": {{"name": {json.dumps(said)}}}'
                out.append(f'{{"ph": "M", "name": "{what}", "pid": {pid}, "tid": {json.dumps(row.tid)}, {args}}}')
    for row in rows[np.argsort(start[rows], kind="stable")].tolist():
        track = table.tracks[table.track[row]]
        ts, dur, link = int(start[row]), int(table.dur[row]), int(table.correlation[row])
        args = f', "args": {{"correlation": {link}}}' if link >= 0 else ""
        out.append(
            f'{{"ph": "X", "cat": "{CATEGORY[Kind(int(table.kind[row]))]}", "name": {names[table.name[row]]}, '
            f'"pid": {json.dumps(pids[table.track[row]])}, "tid": {json.dumps(track.tid)}, '
            f'"ts": {_us(ts)}, "dur": {_us(dur)}{args}}}'
        )
    return out


def _us(ns: int) -> str:
    """Microseconds with three decimals, exactly."""
    sign = "-" if ns < 0 else ""
    return f"{sign}{abs(ns) // 1000}.{abs(ns) % 1000:03d}"
