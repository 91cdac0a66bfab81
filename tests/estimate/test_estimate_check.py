"""A plan against the engine of the same run: what arithmetic decides must be equal, the rest is shown."""

from __future__ import annotations

import pytest
from tests.estimate.test_estimate_from_log import CPU

from seatrial.core.quantity import Quantity, Source
from seatrial.core.record import from_json, to_json
from seatrial.core.verdict import Verdict
from seatrial.estimate import Layout, Serving, engine_rules, make_plan
from seatrial.estimate.check import DrySeen, PlanCheck, check_plan, dry_seen
from seatrial.estimate.device import device_for
from seatrial.estimate.facts import PlanFacts, plan_facts
from seatrial.estimate.from_log import GIB, Readings, read_log
from seatrial.estimate.launch import Launch
from seatrial.targets import load_target

SERVING = Serving(max_model_len=512)


def planned(model, serving=SERVING, **more):
    device = Quantity(value=64 * GIB, unit="bytes", source=Source.DECLARED, note="test")
    return make_plan(model, Layout(), serving, engine_rules("cpu"), device, **more)


def log_of(plan, memory_gib: float, tokens: int) -> Readings:
    return read_log(
        f"INFO Auto set ({memory_gib:.2f}/64.0) GiB for KV cache on node 0.\n"
        f"INFO CPU KV cache size: {tokens:,} tokens, Maximum concurrency for 512 tokens per request: 1.00x\n"
    )


def tokens_at(plan, memory: int) -> int:
    return memory // plan.pool.block_bytes * plan.cache.block


def test_tokens_within_the_rounding_of_the_logged_memory_hold_and_one_block_beyond_it_does_not(make):
    plan = planned(make())
    real = int(1.6637 * GIB)  # printed as 1.66
    held = check_plan(plan, log_of(plan, 1.66, tokens_at(plan, real)), DrySeen(), "real")
    assert held.outcome().verdict is Verdict.PASS
    [row] = [r for r in held.rows if r.judged]
    assert (row.holds, row.source) == (True, "the real gate's log, line 2")
    beyond = check_plan(plan, log_of(plan, 1.66, int(row.planned.high) + plan.cache.block), DrySeen(), "real")
    assert beyond.outcome().verdict is Verdict.FAIL
    assert "KV tokens" in beyond.outcome().reason


def test_a_cache_set_outright_must_be_equal_to_the_token(make):
    plan = planned(make(), Serving(max_model_len=512, kv_bytes=777_777_777))
    right = tokens_at(plan, 777_777_777)
    assert check_plan(plan, log_of(plan, 0.72, right), DrySeen(), "real").outcome().verdict is Verdict.PASS
    assert check_plan(plan, log_of(plan, 0.72, right + 1), DrySeen(), "real").outcome().verdict is Verdict.FAIL


def test_the_real_log_of_another_model_does_not_hold(make):
    assert check_plan(planned(make()), read_log(CPU), DrySeen(), "real").outcome().verdict is Verdict.FAIL


def test_the_dry_runs_bytes_are_compared_exactly(make):
    plan = planned(make())
    weights = plan.weights.largest().total()
    token = plan.cache.content_per_token()
    good = check_plan(plan, Readings(), DrySeen(weights=weights, per_token=token), "")
    assert good.outcome().verdict is Verdict.PASS
    bad = check_plan(plan, Readings(), DrySeen(weights=weights + 1, per_token=token), "").outcome()
    assert bad.verdict is Verdict.FAIL
    assert "weights of the largest rank" in bad.reason


def test_without_any_figure_it_is_inconclusive_and_says_what_lacks(make):
    found = check_plan(planned(make()), Readings(), DrySeen(), "real")
    assert found.outcome().verdict is Verdict.INCONCLUSIVE
    assert "the real gate's log does not say" in found.outcome().reason
    nothing = check_plan(planned(make(vocab_size=None)), Readings(), DrySeen(), "")
    assert "vocab_size" in nothing.outcome().reason


@pytest.mark.parametrize("data", [None, {}, [], {"tp": 1}, {"schema_version": 9}])
def test_facts_that_are_no_account_say_nothing(make, data):
    facts = plan_facts(make(), device_for(load_target("cpu").target), Launch(layout=Layout(), serving=SERVING))
    assert dry_seen(data, facts) == DrySeen()


@pytest.mark.parametrize("target", ["cpu", "ascend-a2", "ascend-a3", "kunlun-p800", "cuda"])
def test_a_plans_facts_go_through_a_file_unchanged(make, target):
    launch = Launch(layout=Layout(), serving=SERVING, notes=("a flag",))
    facts = plan_facts(make(), device_for(load_target(target).target), launch)
    assert from_json(PlanFacts, to_json(facts), where="test") == facts
    assert "a flag" in facts.plan.notes
    check = check_plan(facts.plan, read_log(CPU), DrySeen(weights=7), "real")
    assert from_json(PlanCheck, to_json(check), where="test") == check


def test_an_atlas_target_is_planned_with_its_own_device_and_gets_a_roof(make):
    device = device_for(load_target("ascend-a2").target)
    assert (device.hardware.name, device.memory.value, device.most_devices) == ("atlas-800i-a2", 64 * GIB, 8)
    facts = plan_facts(make(), device, Launch(layout=Layout(tp=2), serving=SERVING))
    assert facts.roof is not None
    assert facts.curves.by_batch


def test_a_cpu_has_no_roof_and_says_how_to_measure_one(make):
    facts = plan_facts(make(), device_for(load_target("cpu").target), Launch(layout=Layout(), serving=SERVING))
    assert facts.roof is None
    assert any("seatrial hardware measure" in u for u in facts.unknown)
