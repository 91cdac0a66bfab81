"""Steps, phases, bubbles and layers of one rank, put together."""

from __future__ import annotations

import numpy as np

from seatrial.core.record import replace
from seatrial.measure.profile.bubbles import find_bubbles
from seatrial.measure.profile.events import I64, EventTable, Kind
from seatrial.measure.profile.intervals import covered
from seatrial.measure.profile.records import BubbleRow, FamilyRow, LayerRow, PhaseRow, Pipeline, Step
from seatrial.measure.profile.steps import Segmentation, find_steps
from seatrial.measure.profile.summary import INDEX, Work, family_rows

FIRST_STEPS = 2000


def pipeline(
    table: EventTable, works: list[Work], marker: str | None, boundary: tuple[str, str] | None
) -> tuple[Pipeline, Segmentation]:
    """`works` are the rank's devices; phases and layers are those of the first, the busiest."""
    found = find_steps(table, marker)
    main = max(works, key=lambda w: w.busy.total()) if works else None
    host_clock = found.steps
    how = found.how
    step_of = [assign(table, work, host_clock) for work in works]
    if main is not None and main.device >= 0 and found.on_host and found.steps:
        found.steps = place(found.steps, main, step_of[works.index(main)])
        how += ", placed on the device by their launches"
    steps = found.steps
    if steps and main is not None:
        start = np.array([s.start_ns for s in steps], np.int64)
        end = np.array([s.end_ns for s in steps], np.int64)
        busy = covered(main.busy, start, end)
        steps = [replace(s, busy_ns=int(b)) for s, b in zip(steps, busy, strict=True)]
        found.steps = steps
    bubbles: list[BubbleRow] = []
    if boundary is not None or len(steps) > 1:
        for work, of in zip(works, step_of, strict=True):
            bubbles += find_bubbles(table, work.table, of, boundary)
    why = found.why
    if boundary is not None and not bubbles:
        why = (why + "; " if why else "") + f"no pair of the boundary {boundary[0]!r} -> {boundary[1]!r} on any stream"
    return Pipeline(
        how=how,
        steps=len(steps),
        empty_steps=found.empty,
        phases=_phases(steps, main, step_of[works.index(main)] if main is not None else None),
        bubbles=tuple(bubbles),
        layers=_layers(steps, main),
        first_steps=tuple(steps[:FIRST_STEPS]),
        why=why,
    ), found


def assign(table: EventTable, work: Work, steps: list[Step]) -> I64:
    """The step of every event of `work`: by the time of its launch if it is tied to one, else by its own start.

    An event belongs to the last step that began before it; -1 is before the first.
    """
    when = work.table.start.copy()
    if work.device >= 0:
        runtime = table.take(table.of(Kind.RUNTIME) & (table.correlation >= 0))
        if len(runtime):
            order = np.argsort(runtime.correlation, kind="stable")
            ids = runtime.correlation[order]
            at = np.minimum(np.searchsorted(ids, work.table.correlation), len(ids) - 1)
            tied = (ids[at] == work.table.correlation) & (work.table.correlation >= 0)
            when[tied] = runtime.start[order][at][tied]
    begins = np.array([s.start_ns for s in steps], np.int64)
    out: I64 = np.searchsorted(begins, when, side="right") - 1
    return out


def place(steps: list[Step], work: Work, step_of: I64) -> list[Step]:
    """The steps in the device's time: from first start to last end of their events; without events, as they are."""
    out = list(steps)
    order = np.argsort(step_of, kind="stable")
    order = order[step_of[order] >= 0]
    if not len(order):
        return out
    at = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(np.diff(step_of[order])) + 1])
    first = np.minimum.reduceat(work.table.start[order], at)
    last = np.maximum.reduceat(work.end[order], at)
    for which, start, end in zip(step_of[order][at].tolist(), first.tolist(), last.tolist(), strict=True):
        out[which] = replace(steps[which], start_ns=start, end_ns=end)
    return out


def _phases(steps: list[Step], work: Work | None, step_of: I64 | None) -> tuple[PhaseRow, ...]:
    out = []
    numbers = {phase: np.array([s.phase == phase for s in steps], np.bool_) for phase in {s.phase for s in steps}}
    for phase in sorted({s.phase for s in steps}):
        mine = [s for s in steps if s.phase == phase]
        took = np.array([s.end_ns - s.start_ns for s in mine], np.int64)
        families: tuple[FamilyRow, ...] = ()
        if work is not None and step_of is not None:
            inside = (step_of >= 0) & numbers[phase][np.maximum(step_of, 0)]
            families = family_rows(work, np.flatnonzero(inside))
        out.append(
            PhaseRow(
                phase=phase,
                steps=len(mine),
                total_ns=int(took.sum()),
                median_ns=int(np.median(took)),
                p90_ns=int(np.percentile(took, 90, method="higher")),
                longest_ns=int(took.max()),
                busy_ns=sum(s.busy_ns for s in mine),
                families=families,
            )
        )
    return tuple(out)


def _layers(steps: list[Step], work: Work | None) -> tuple[LayerRow, ...]:
    """Layers cut at their attention kernel: the distance from one to the next, averaged over steps of equal count.

    The last layer's distance would hold the head and the sampler too, so it is left out.
    """
    if work is None or len(steps) < 2:
        return ()
    chosen = np.flatnonzero(work.family == INDEX["attention"])
    if work.device < 0:
        chosen = chosen[work.self_ns[chosen] == work.table.dur[chosen]]
    if not len(chosen):
        return ()
    names = np.bincount(work.table.name[chosen])
    chosen = chosen[work.table.name[chosen] == int(names.argmax())]
    begin = np.sort(work.table.start[chosen])
    starts = np.array([s.start_ns for s in steps], np.int64)
    of = np.searchsorted(starts, begin, side="right") - 1
    decode = np.array([s.phase in {"decode", "step"} for s in steps], np.bool_)
    inside = of >= 0
    inside[inside] &= decode[of[inside]]
    of, begin = of[inside], begin[inside]
    counts = np.bincount(of, minlength=len(steps))
    if not len(of):
        return ()
    usual = int(np.bincount(counts[counts > 0]).argmax())
    if usual < 2 or usual > 4096:
        return ()
    whole = np.flatnonzero(counts == usual)
    grid = begin[np.isin(of, whole)].reshape(len(whole), usual)
    apart = np.diff(grid, axis=1)
    return tuple(LayerRow(layer=i, steps=len(whole), mean_ns=float(apart[:, i].mean())) for i in range(apart.shape[1]))
