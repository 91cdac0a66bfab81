"""A single run's own verdict, and facts that somebody declares beside those that were seen."""

from __future__ import annotations

import pytest
from tests.measure.made import bench_run, workload

from seatrial.core.errors import UsageError
from seatrial.core.record import from_plain, replace, to_plain
from seatrial.core.verdict import Verdict, failed, not_applicable
from seatrial.measure.compare.setup import PROFILED
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.facts import with_declared
from seatrial.measure.load.generator import LoadRun
from seatrial.measure.load.precheck import judge_gate
from seatrial.measure.load.session import finish, outcome_of
from seatrial.measure.profile.records import ProfileReport
from seatrial.targets import load_target
from seatrial.workflow.bench import BenchJob, Side


def says(sla=None, **changes):
    figures = {k: v for k, v in changes.items() if k in ("success", "failed", "is_complete", "partial")}
    rest = {k: v for k, v in changes.items() if k not in figures}
    made = bench_run(figures=figures, **rest)
    return outcome_of(replace(made, sla=sla or not_applicable("none"))).verdict


def test_only_a_run_whose_every_request_was_answered_passes_by_itself():
    assert says() is Verdict.PASS
    assert says(success=19, failed=1) is Verdict.INCONCLUSIVE
    assert says(failed=None) is Verdict.INCONCLUSIVE
    assert says(success=None, failed=None) is Verdict.INCONCLUSIVE
    assert says(success=0, failed=20) is Verdict.FAIL
    assert says(is_complete=False, partial="stopped") is Verdict.INCONCLUSIVE
    assert says(profiler_attached=True) is Verdict.INCONCLUSIVE
    assert says(failed("too slow")) is Verdict.FAIL


def test_what_was_seen_cannot_be_declared_away():
    seen = {"profiler_attached": True, "dtype": None}
    assert with_declared(seen, {"dtype": "bfloat16", "image": "x"})["dtype"] == "bfloat16"
    with pytest.raises(UsageError, match="profiler_attached was seen to be True"):
        with_declared(seen, {"profiler_attached": False})
    with pytest.raises(UsageError):
        with_declared({"tensor_parallel": 1}, {"tensor_parallel": True})


@pytest.mark.parametrize("fact", ["workload.requests=9", "sampling.stream=true", "tool=vllm", "sla=none"])
def test_what_the_bench_does_itself_cannot_be_declared(fact):
    side = Side(label="A", service="http://127.0.0.1:1")
    job = BenchJob(kind="bench", sides=(side,), workload=workload())
    with pytest.raises(Exception, match="cannot be declared"):
        from_plain(BenchJob, {**to_plain(job), "facts": [fact]}, where="job")


def test_a_profiled_run_is_never_formal_and_bears_the_mark_of_the_profile(tmp_path):
    assert PROFILED in ProfileReport.__struct_fields__
    made = workload()
    plan = make_plan(made, "m")
    run = LoadRun(records=(), planned=0, duration_s=1.0, partial="")
    gate = replace(judge_gate(load_target("cpu").target, None, (), None, None), passed=True, reasons=())
    metrics = bench_run().metrics

    def level(tmp, facts):
        return finish(run, metrics, gate, made, plan, "A", facts, "s", tmp / "requests.jsonl").facts

    assert level(tmp_path, {"profiler_attached": False}).level == "formal"
    profiled = level(tmp_path, {"profiler_attached": True, "workload.requests": 10**6})
    assert profiled.level == "debug"
    assert "profiler" in profiled.doubts[0]
    assert profiled.setup.get("workload.requests") == made.load.requests
