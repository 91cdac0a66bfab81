"""Which services are up while a side is measured, and what a replay says of sides that were not."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
from made import side, workload

from seatrial.evidence import open_workspace
from seatrial.measure.compare import judge
from seatrial.targets import load_target
from seatrial.workflow.bench.job import BenchJob, Side
from seatrial.workflow.bench.run import _Bench
from seatrial.workflow.replay import _agreement


@pytest.mark.parametrize(
    ("serve", "seen"),
    [
        ("restart", [("A", ["A"]), ("B", ["B"]), ("A", ["A", "B"]), ("B", ["B"])]),
        ("together", [("A", ["A", "B"]), ("B", ["A", "B"])] * 2),
    ],
)
def test_a_side_that_is_started_here_is_not_up_beside_a_service_of_the_users(tmp_path, monkeypatch, serve, seen):
    sides = (Side(label="A"), Side(label="B", service="http://127.0.0.1:9"))
    job = BenchJob(kind="bench", sides=sides, workload=workload(), checkpoint=str(tmp_path), runs=2, serve=serve)
    bench = _Bench(job, load_target("cpu"), open_workspace(tmp_path, write=True), (), lambda text: None)
    up: list[str] = []
    measured: list[tuple[str, list[str]]] = []

    @contextlib.contextmanager
    def start(side, scratch):
        up.append(side.label)
        yield SimpleNamespace(pids=list)
        up.remove(side.label)

    monkeypatch.setattr(bench, "_start", start)
    monkeypatch.setattr(bench, "_one", lambda run, side, *_: measured.append((side.label, sorted(up))))
    monkeypatch.setattr(bench, "_end", lambda run: None)
    bench._measure(None, tmp_path, {})
    assert measured == seen
    assert up == []


def test_a_side_that_was_not_measured_again_does_not_agree():
    fine = judge(
        side([100, 101, 99, 100.5]),
        side([100, 99, 101, 100.2], label="B"),
        under_test=(),
        judged_by="request_throughput",
    )
    other = judge(
        side([100, 101, 99, 100.5]), side([50, 51, 49, 50.5], label="B"), under_test=(), judged_by="request_throughput"
    )
    assert _agreement({"A": fine}, ["A"])[0] == "agrees"
    assert _agreement({"A": fine}, ["A", "B"]) == ("unknown", "B: there is nothing to compare with")
    assert _agreement({"B": other}, ["A", "B"])[0] == "differs"
    assert _agreement({}, ["A"])[0] == "unknown"
