"""Where each engine step begins and ends, and whether it is prefill or decode; no hints from the user if possible.

In this order: vLLM's own annotations (`execute_context_R(T)_generation_R(T)`, which say requests and tokens), a marker
the user chose, `ProfilerStep#N`, then the kernel that ends a step (the sampler's arg-max), phase by attention kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seatrial.core.record import replace
from seatrial.measure.profile.events import DEVICE_WORK, I64, EventTable, Kind
from seatrial.measure.profile.families import family_of
from seatrial.measure.profile.records import Step

VLLM = re.compile(r"^execute_(?:new|context)_(\d+)\((?:sq)?(\d*)[^)]*\)_(?:cached|generation)_(\d+)\((?:sq)?(\d*)")
PROFILER_STEP = re.compile(r"^ProfilerStep#\d+$")
PREFILL = re.compile(r"PromptFlash|BatchPrefill|varlen|SelfAttentionPrefill|context_attention|prefill", re.I)
DECODE = re.compile(r"IncreFlash|PagedAttention|splitkv|BatchDecode|paged_attention|decode", re.I)


@dataclass(kw_only=True)
class Segmentation:
    """Steps in order of time, without empty ones (no request in them), which are counted."""

    steps: list[Step]
    empty: int
    how: str
    why: str = ""
    on_host: bool = False


def find_steps(table: EventTable, marker: str | None = None) -> Segmentation:
    """The steps of one rank's table."""
    if marker is not None:
        pattern = re.compile(marker)
        rows = _named(table, pattern, None)
        if len(rows):
            return _windows(table, rows, f"events that match {marker!r}", _phase_none)
        return Segmentation(steps=[], empty=0, how="chosen marker", why=f"no event matches {marker!r}")
    for kind, where in ((Kind.DEVICE_ANNOTATION, "the device's copies of "), (Kind.ANNOTATION, "")):
        rows = _named(table, VLLM, kind)
        if len(rows):
            return _windows(table, rows, f"{where}vLLM's step annotations", _phase_vllm)
    rows = _named(table, PROFILER_STEP, Kind.ANNOTATION)
    if len(rows):
        return _windows(table, rows, "ProfilerStep annotations", _phase_none)
    return _by_sampler(table)


def _named(table: EventTable, pattern: re.Pattern[str], kind: Kind | None) -> I64:
    """Rows with such names in order of time, one lane only: the same step may be annotated on several tracks."""
    wanted = np.array([bool(pattern.search(name)) for name in table.names] or [False], np.bool_)
    mask = wanted[table.name]
    if kind is not None:
        mask &= table.kind == kind
    rows = np.flatnonzero(mask)
    if not len(rows):
        return rows
    lanes = np.bincount(table.track[rows])
    rows = rows[table.track[rows] == int(lanes.argmax())]
    out: I64 = rows[np.argsort(table.start[rows], kind="stable")]
    return out


def _phase_vllm(name: str) -> Step | None:
    found = VLLM.search(name)
    if found is None:
        return None
    context, generation = int(found.group(1)), int(found.group(3))
    phase = "mixed" if context and generation else "prefill" if context else "decode" if generation else ""
    return Step(
        index=0,
        phase=phase,
        start_ns=0,
        end_ns=0,
        context_requests=context,
        context_tokens=int(found.group(2) or 0),
        generation_requests=generation,
        generation_tokens=int(found.group(4) or 0),
    )


def _phase_none(_name: str) -> Step | None:
    return Step(index=0, phase="step", start_ns=0, end_ns=0)


def _windows(table: EventTable, rows: I64, how: str, describe: Callable[[str], Step | None]) -> Segmentation:
    steps: list[Step] = []
    empty = 0
    for row in rows.tolist():
        said = describe(table.names[int(table.name[row])])
        if said is None or not said.phase:
            empty += 1
            continue
        start = int(table.start[row])
        steps.append(replace(said, index=len(steps), start_ns=start, end_ns=start + int(table.dur[row])))
    host = not bool(table.of(*DEVICE_WORK, Kind.DEVICE_ANNOTATION)[rows].all())
    return Segmentation(steps=steps, empty=empty, how=how, on_host=host)


def _by_sampler(table: EventTable) -> Segmentation:
    """Steps end with the sampler's arg-max (or other sampling kernel); the phase is the attention kernel's."""
    how = "the sampling kernel that ends a step"
    kernels = table.of(*DEVICE_WORK)
    if not kernels.any():
        return Segmentation(steps=[], empty=0, how=how, why="no step annotation and no device kernels in the trace")
    names = np.unique(table.name[kernels])
    samplers = [int(n) for n in names if family_of(table.names[int(n)]) == "sampling"]
    preferred = [n for n in samplers if re.search(r"arg_?max", table.names[n], re.I)]
    if not samplers:
        why = "no step annotation and no sampling kernel (arg-max, top-k) in the trace"
        return Segmentation(steps=[], empty=0, how=how, why=why)
    chosen = max(preferred or samplers, key=lambda n: int(np.count_nonzero(table.name[kernels] == n)))
    rows = np.flatnonzero(kernels)
    rows = rows[np.argsort(table.start[rows], kind="stable")]
    ends = rows[table.name[rows] == chosen]
    stops = table.start[ends] + table.dur[ends]
    prefill = np.array([bool(PREFILL.search(n)) for n in table.names], np.bool_)
    decode = np.array([bool(DECODE.search(n)) for n in table.names], np.bool_)
    starts = table.start[rows]
    steps: list[Step] = []
    low = 0
    for stop in stops.tolist():
        high = int(np.searchsorted(starts, stop, side="left"))
        if high <= low:
            continue
        used = table.name[rows[low:high]]
        first, second = bool(prefill[used].any()), bool(decode[used].any())
        phase = "mixed" if first and second else "prefill" if first else "decode" if second else "step"
        steps.append(Step(index=len(steps), phase=phase, start_ns=int(starts[low]), end_ns=int(stop)))
        low = high
    return Segmentation(steps=steps, empty=0, how=f"{how} ({table.names[chosen][:60]})")
