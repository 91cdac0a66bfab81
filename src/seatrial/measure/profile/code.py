"""Which lines of Python the time belongs to: of kernels the line that launched them, of operators the one above.

In: one rank's table with Python frames (torch's `with_stack`). A frame counts if it is of a file that is neither
torch's nor the standard library's: the innermost such frame is where somebody could change something. A kernel's launch
is known by its correlation; without device events the operators' self time is shared out. What no frame encloses is a
row too.
"""

from __future__ import annotations

import re
import sys

import numpy as np

from seatrial.measure.profile.events import DEVICE_WORK, I64, EventTable, Kind
from seatrial.measure.profile.nesting import nest
from seatrial.measure.profile.records import CodeRow
from seatrial.measure.profile.summary import grouped

FRAME = re.compile(r"^(?P<file>[^<>()]+\.py)\((?P<line>\d{1,9})\): (?P<function>.+)$")
NOT_OURS = re.compile(r"(^|/)(torch|torch_npu|triton)/")
NOBODY = "(no Python frame recorded)"


def is_own(file: str) -> bool:
    """Whether a file is neither of torch nor of the standard library."""
    top = file.split("/", 1)[0].removesuffix(".py")
    return not NOT_OURS.search(file) and top not in sys.stdlib_module_names


def code_rows(table: EventTable, top: int) -> tuple[CodeRow, ...]:
    """The `top` lines by time, largest first; empty where no Python frames were recorded."""
    if not (table.kind == Kind.PYTHON).any():
        return ()
    rows = np.flatnonzero(table.of(Kind.CPU_OP, Kind.RUNTIME, Kind.PYTHON))
    host = table.take(rows)
    found = [FRAME.match(name) for name in table.names]
    mine = np.array([f is not None and is_own(f["file"]) for f in found], np.bool_)
    nested = nest(host.start, host.dur, host.track)
    frame = np.where((host.kind == Kind.PYTHON) & mine[host.name], host.name.astype(np.int64), -1)
    for depth in range(1, int(nested.depth.max()) + 1 if len(host) else 0):
        at = np.flatnonzero((nested.depth == depth) & (frame < 0))
        above = nested.parent[at]
        frame[at] = np.where(above >= 0, frame[np.maximum(above, 0)], -1)
    device = table.of(*DEVICE_WORK)
    if device.any():
        work = table.take(device)
        label, spent, name = _launched(work, host, frame), work.dur, work.name
    else:
        at = np.flatnonzero(host.kind == Kind.CPU_OP)
        label, spent, name = frame[at], nested.self_ns[at], host.name[at]
    return _rows(table, label, spent, name, found, top)


def _launched(work: EventTable, host: EventTable, frame: I64) -> I64:
    """The frame of every device event's launch, or -1."""
    calls = np.flatnonzero((host.kind == Kind.RUNTIME) & (host.correlation >= 0))
    order = calls[np.argsort(host.correlation[calls], kind="stable")]
    keys = host.correlation[order]
    if not len(keys):
        return np.full(len(work), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, work.correlation), len(keys) - 1)
    known = (work.correlation >= 0) & (keys[at] == work.correlation)
    return np.where(known, frame[order[at]], -1)


def _rows(
    table: EventTable, label: I64, spent: I64, name: np.ndarray, found: list[re.Match[str] | None], top: int
) -> tuple[CodeRow, ...]:
    by = grouped(label, spent, spent)
    whole = int(by.total.sum()) or 1
    out = []
    for i in np.lexsort((by.label, -by.total))[:top]:
        frame = found[int(by.label[i])] if by.label[i] >= 0 else None
        rows = by.order[by.begin[i] : by.begin[i] + by.calls[i]]
        inner = grouped(name[rows], spent[rows], spent[rows])
        most = int(inner.label[int(np.argmax(inner.total))])
        out.append(
            CodeRow(
                file=frame["file"] if frame else NOBODY,
                line=int(frame["line"]) if frame else None,
                function=frame["function"] if frame else "",
                calls=int(by.calls[i]),
                total_ns=int(by.total[i]),
                share=int(by.total[i]) / whole,
                mostly=table.names[most],
            )
        )
    return tuple(out)
