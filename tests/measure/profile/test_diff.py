"""Two profiles side by side: changes, only-in-one, fairness, and whether the target moved as predicted."""

from __future__ import annotations

import pytest

from seatrial.core.verdict import Verdict
from seatrial.measure.profile.diff import compare

T0 = 5_000_000_000


def capture(write, name, steps=10, gemm=1000, extra=None, batch=4):
    events = []
    for i in range(steps):
        at = T0 + i * 10_000
        events.append((f"execute_context_0(0)_generation_{batch}({batch})", "user_annotation", 1, 1, at, 5000))
        events.append(("MatMulV3", "kernel", 0, 7, at, gemm))
        events.append(("SwiGlu", "kernel", 0, 7, at + 3000, 500))
        if extra:
            events.append((extra, "kernel", 0, 7, at + 4000, 300))
    return write(events, name=f"{name}.pt.trace.json")


@pytest.fixture
def diff(write, answer):
    def make(a, b, **options):
        reports = [answer(capture(write, n, **o), top=10_000) for n, o in (("a", a), ("b", b))]
        return compare(*reports, **options)

    return make


def test_what_changed_and_what_only_one_side_has(diff):
    found = diff({"extra": "Transpose"}, {"gemm": 800, "extra": "AddRmsNorm"})
    assert found.basis == "per step"
    row = next(r for r in found.kernels if r.name == "MatMulV3")
    assert (row.delta_ns, row.ratio) == (-200.0, 0.8)
    assert [r.name for r in found.only_a] == ["Transpose"]
    assert [r.name for r in found.only_b] == ["AddRmsNorm"]
    assert next(r for r in found.families if r.family == "gemm").ratio == 0.8
    assert found.findings == ()
    assert found.profiler_attached


@pytest.mark.parametrize(("predicted", "verdict"), [(0.8, Verdict.PASS), (0.5, Verdict.FAIL)])
def test_a_prediction_is_held_against_the_measurement(diff, predicted, verdict):
    found = diff({}, {"gemm": 800}, target="MatMul", predicted=predicted, tolerance=0.05)
    assert found.prediction.measured == pytest.approx(0.8)
    assert found.prediction.outcome.verdict is verdict


def shaped(write, name, shapes, gemm=1000):
    """Ten steps of a product on these shapes in turn, and a small kernel whose shape is always another."""
    events = []
    for i in range(10):
        at = T0 + i * 10_000
        events.append(("execute_context_0(0)_generation_4(4)", "user_annotation", 1, 1, at, 5000))
        dims = {"Input Dims": shapes[i % len(shapes)]}
        events.append(("MatMulV3", "kernel", 0, 7, at, gemm, dims))
        events.append(("Cast", "kernel", 0, 7, at + 3000, 5, {"Input Dims": [[hash(name) % 97, i]]}))
    return write(events, name=f"{name}.pt.trace.json")


def test_the_same_kernel_on_other_shapes_is_no_fair_pair(write, answer):
    sides = [
        answer(shaped(write, name, shapes), top=10_000)
        for name, shapes in (("a", [[[4, 64]]]), ("b", [[[4, 64]], [[8, 64]]]), ("c", [[[4, 64]]]))
    ]
    found = compare(sides[0], sides[1], target="MatMul", predicted=1.0)
    (finding,) = found.findings
    assert finding.place == "shapes"
    assert "MatMulV3: 50% of the calls" in finding.message
    assert "Cast" not in finding.message
    assert found.prediction.outcome.verdict is Verdict.INCONCLUSIVE
    assert compare(sides[0], sides[2]).findings == ()


@pytest.mark.parametrize(
    ("a", "b", "word"), [({"steps": 10}, {"steps": 14}, "10 against 14"), ({}, {"batch": 8}, "4 against 8")]
)
def test_an_unfair_pair_is_said_and_proves_no_prediction(diff, a, b, word):
    found = diff(a, b, target="MatMul", predicted=1.0)
    assert [f.code for f in found.findings] == ["T015"]
    assert word in found.findings[0].message
    assert found.prediction.outcome.verdict is Verdict.INCONCLUSIVE


def test_a_target_that_no_kernel_has_is_inconclusive(diff):
    assert diff({}, {}, target="zzz", predicted=1.0).prediction.outcome.verdict is Verdict.INCONCLUSIVE
