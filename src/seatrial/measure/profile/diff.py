"""Two profiles side by side: calls, time, ratio, what is only in one, families, and whether the target moved as said.

In: two reports. Out: a `Diff`. Times per step are compared where both sides have steps, since two captures seldom hold
the same number; what makes the pair unfair is a finding (T015) and never hidden in a ratio.
"""

from __future__ import annotations

import re

from seatrial.core.finding import Finding
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.measure.profile import codes
from seatrial.measure.profile.records import DeviceReport, ProfileReport, RankReport
from seatrial.measure.profile.vendor.tables import OperatorTotal

# Shapes are compared of the kernels that hold this part of a side's time, and by the share of calls that have them.
SHAPES_FROM = 0.01
SAME_SHAPES = 0.05
# Captures of the same work still differ by a few calls at the edges of the window.
SAME_STEPS = 0.02


class Side(Record):
    """One side's calls and self time, whole and per step (None without steps)."""

    calls: int
    self_ns: int
    per_step_ns: float | None


class DiffRow(Record):
    """One kernel, operator or family. `ratio` is b / a of the compared times; None if only one side has it."""

    name: str
    family: str
    a: Side | None
    b: Side | None
    delta_ns: float
    ratio: float | None


class Prediction(Record):
    """What was said of the kernels that match `pattern`, and what they did; ratios are b / a of the compared times."""

    pattern: str
    predicted: float
    tolerance: float
    measured: float | None
    outcome: Outcome


class Diff(Record):
    """`basis` is "per step" or "whole capture": what deltas and ratios compare."""

    basis: str
    steps_a: int
    steps_b: int
    busy_ratio: float | None
    families: tuple[DiffRow, ...]
    kernels: tuple[DiffRow, ...]
    only_a: tuple[DiffRow, ...]
    only_b: tuple[DiffRow, ...]
    prediction: Prediction | None
    findings: tuple[Finding, ...]
    profiler_attached: bool = True
    schema_version: int = 1


def compare(
    a: ProfileReport,
    b: ProfileReport,
    *,
    target: str | None = None,
    predicted: float | None = None,
    tolerance: float = 0.1,
) -> Diff:
    """Compare two reports made with a `top` that holds every kernel."""
    findings = _fairness(a, b)
    steps_a, steps_b = _steps(a), _steps(b)
    basis = "per step" if steps_a and steps_b else "whole capture"
    weights = (steps_a, steps_b) if basis == "per step" else (0, 0)
    rows = _rows(_kernels(a, weights[0]), _kernels(b, weights[1]))
    families = _rows(_families(a, weights[0]), _families(b, weights[1]))
    busy = (_busy(a) / (weights[0] or 1), _busy(b) / (weights[1] or 1))
    prediction = None
    if target is not None and predicted is not None:
        prediction = _predict(rows, target, predicted, tolerance, bool(findings))
    return Diff(
        basis=basis,
        steps_a=steps_a,
        steps_b=steps_b,
        busy_ratio=busy[1] / busy[0] if busy[0] else None,
        families=families,
        kernels=tuple(r for r in rows if r.a is not None and r.b is not None),
        only_a=tuple(r for r in rows if r.b is None),
        only_b=tuple(r for r in rows if r.a is None),
        prediction=prediction,
        findings=tuple(findings),
    )


def _devices(report: ProfileReport) -> list[DeviceReport]:
    return [d for rank in report.ranks for d in rank.devices]


def _busy(report: ProfileReport) -> int:
    return sum(d.times.busy_ns for d in _devices(report)) + sum(row.total_ns for row in _totals(report))


def _steps(report: ProfileReport) -> int:
    return max((rank.pipeline.steps for rank in report.ranks), default=0)


def _kernels(report: ProfileReport, steps: int) -> dict[str, tuple[str, Side]]:
    out: dict[str, tuple[str, Side]] = {}
    for device in _devices(report):
        for k in device.kernels:
            _add(out, k.name, k.family, k.calls, k.self_ns, steps)
    for row in _totals(report):
        _add(out, row.type, row.family, row.calls, row.total_ns, steps)
    return out


def _families(report: ProfileReport, steps: int) -> dict[str, tuple[str, Side]]:
    out: dict[str, tuple[str, Side]] = {}
    for device in _devices(report):
        for f in device.families:
            _add(out, f.family, f.family, f.calls, f.covered_ns, steps)
    for row in _totals(report):
        _add(out, row.family, row.family, row.calls, row.total_ns, steps)
    return out


def _totals(report: ProfileReport) -> list[OperatorTotal]:
    """The profiler's own sums, of the ranks that have nothing else."""
    return [row for rank in report.ranks if not rank.devices and rank.vendor for row in rank.vendor.operators]


def _add(rows: dict[str, tuple[str, Side]], name: str, family: str, calls: int, self_ns: int, steps: int) -> None:
    """Count these calls in the row of that name."""
    before = rows.get(name)
    if before is not None:
        calls, self_ns = calls + before[1].calls, self_ns + before[1].self_ns
    rows[name] = (family, Side(calls=calls, self_ns=self_ns, per_step_ns=self_ns / steps if steps else None))


def _compared(side: Side | None) -> float:
    if side is None:
        return 0.0
    return side.per_step_ns if side.per_step_ns is not None else float(side.self_ns)


def _rows(a: dict[str, tuple[str, Side]], b: dict[str, tuple[str, Side]]) -> tuple[DiffRow, ...]:
    """All names of both sides, the largest change first."""
    rows = []
    for name in sorted(a.keys() | b.keys()):
        left, right = a.get(name), b.get(name)
        family = (left or right or ("", None))[0]
        before, after = _compared(left[1] if left else None), _compared(right[1] if right else None)
        both = left is not None and right is not None and before > 0
        rows.append(
            DiffRow(
                name=name,
                family=family,
                a=left[1] if left else None,
                b=right[1] if right else None,
                delta_ns=after - before,
                ratio=after / before if both else None,
            )
        )
    return tuple(sorted(rows, key=lambda r: (-abs(r.delta_ns), r.name)))


def _fairness(a: ProfileReport, b: ProfileReport) -> list[Finding]:
    """Everything seen from here that makes the two captures different work."""
    out = []
    if len(a.ranks) != len(b.ranks):
        out.append(codes.not_a_fair_pair("ranks", f"{len(a.ranks)} against {len(b.ranks)}"))
    steps = (_steps(a), _steps(b))
    if all(steps) and abs(steps[0] - steps[1]) > SAME_STEPS * max(steps):
        out.append(codes.not_a_fair_pair("steps", f"{steps[0]} against {steps[1]}; times are compared per step"))
    if not all(steps):
        out.append(codes.not_a_fair_pair("steps", "a side has no steps, so whole captures are compared"))
    mix = (_mix(a), _mix(b))
    if all(steps) and mix[0] != mix[1]:
        said = [", ".join(f"{phase} {share:.0%}" for phase, share in m.items()) for m in mix]
        if any(abs(mix[0].get(p, 0) - mix[1].get(p, 0)) > SAME_STEPS for p in mix[0].keys() | mix[1].keys()):
            out.append(codes.not_a_fair_pair("phases", f"{said[0]} against {said[1]}"))
    batch = (_batches(a), _batches(b))
    if batch[0] and batch[1] and batch[0] != batch[1]:
        said_a, said_b = _said(batch[0]), _said(batch[1])
        out.append(codes.not_a_fair_pair("batches", f"requests in a decode step {said_a} against {said_b}"))
    shapes = _other_shapes(a, b)
    if shapes:
        more = f", and {len(shapes) - 3} more" if len(shapes) > 3 else ""
        out.append(codes.not_a_fair_pair("shapes", "; ".join(shapes[:3]) + more))
    kinds = ({r.layout for r in a.ranks}, {r.layout for r in b.ranks})
    if kinds[0] != kinds[1]:
        out.append(codes.not_a_fair_pair("profilers", f"{sorted(kinds[0])} against {sorted(kinds[1])}"))
    return out


def _other_shapes(a: ProfileReport, b: ProfileReport) -> list[str]:
    """What is said of every kernel that weighs something and ran on other input shapes in B, the heaviest first.

    Only where both sides recorded shapes. The distance is the part of the calls that would have to change theirs.
    """
    sides = [_shape_shares(a), _shape_shares(b)]
    whole = sum(own for own, _ in sides[0].values()) or 1
    out = []
    for name, (own, before) in sorted(sides[0].items(), key=lambda item: -item[1][0]):
        after = sides[1].get(name, (0, {}))[1]
        if own < SHAPES_FROM * whole or not before or not after:
            continue
        far = sum(abs(before.get(s, 0.0) - after.get(s, 0.0)) for s in before.keys() | after.keys()) / 2
        if far > SAME_SHAPES:
            most = [max(side, key=lambda s: (side[s], s)) or "none" for side in (before, after)]
            out.append(f"{name[:60]}: {far:.0%} of the calls, mostly {most[0][:60]} against {most[1][:60]}")
    return out


def _shape_shares(report: ProfileReport) -> dict[str, tuple[int, dict[str, float]]]:
    """Self time of every kernel, and which part of its calls had which shapes; the rare ones together."""
    times: dict[str, int] = {}
    calls: dict[str, dict[str, int]] = {}
    for device in _devices(report):
        for k in device.kernels:
            times[k.name] = times.get(k.name, 0) + k.self_ns
            mine = calls.setdefault(k.name, {})
            for s in k.shapes:
                mine[s.shapes] = mine.get(s.shapes, 0) + s.calls
            if k.shapes:
                rest = k.calls - sum(s.calls for s in k.shapes)
                mine["(rarer)"] = mine.get("(rarer)", 0) + rest
    return {
        name: (times[name], {s: n / sum(mine.values()) for s, n in mine.items() if n}) for name, mine in calls.items()
    }


def _mix(report: ProfileReport) -> dict[str, float]:
    rank: RankReport | None = max(report.ranks, key=lambda r: r.pipeline.steps, default=None)
    if rank is None or not rank.pipeline.steps:
        return {}
    return {p.phase: p.steps / rank.pipeline.steps for p in rank.pipeline.phases}


def _batches(report: ProfileReport) -> set[int]:
    steps = [s for rank in report.ranks for s in rank.pipeline.first_steps if s.phase == "decode"]
    return {s.generation_requests for s in steps if s.generation_requests is not None}


def _said(values: set[int]) -> str:
    return f"{min(values)} to {max(values)}" if len(values) > 1 else str(next(iter(values)))


def _predict(rows: tuple[DiffRow, ...], target: str, predicted: float, tolerance: float, unfair: bool) -> Prediction:
    pattern = re.compile(target)
    mine = [r for r in rows if pattern.search(r.name)]
    before, after = sum(_compared(r.a) for r in mine), sum(_compared(r.b) for r in mine)
    measured = after / before if before else None
    if measured is None:
        outcome = inconclusive(f"no kernel of A matches {target!r}" if mine else f"no kernel matches {target!r}")
    elif unfair:
        outcome = inconclusive("the pair is not fair (see the findings)")
    elif abs(measured - predicted) <= tolerance:
        outcome = passed()
    else:
        outcome = failed(f"predicted {predicted:g}, measured {measured:.3f}")
    return Prediction(pattern=target, predicted=predicted, tolerance=tolerance, measured=measured, outcome=outcome)
