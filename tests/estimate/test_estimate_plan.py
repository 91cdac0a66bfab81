"""The plan's verdicts, its bad input, its speed; all on small configs whose figures can be worked out."""

from __future__ import annotations

import pytest
from tests.cost import million_turns

from seatrial.core.errors import UsageError
from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.core.verdict import Verdict
from seatrial.estimate import Layout, Serving, engine_rules, make_plan
from seatrial.estimate.calibrate import Calibration, Learnt
from seatrial.estimate.changes import changes

GIB = 1024**3
RULES = engine_rules("cuda")


def device(gib):
    return Quantity(value=int(gib * GIB), unit="bytes", source=Source.DECLARED, note="test")


def plan(model, gib=1.0, requests=1, margin=0.03, layout=None, **serving):
    return make_plan(
        model, layout or Layout(), Serving(**serving), RULES, device(gib), requests=requests, margin_share=margin
    )


def test_what_fits_with_the_margin_passes(make):
    made = plan(make(), gib=1)
    assert made.outcome.verdict is Verdict.PASS
    assert made.limiting.startswith("none")


def test_the_three_levels_follow_the_memory(make):
    model = make()
    needed = plan(model, gib=1, requests=16).answer.needed
    other = {b.name: b.amount.value or 0 for b in plan(model, gib=1).memory.buckets}
    used = other["weights"] + other["activations"]
    exact = (needed + used) / 0.9 / GIB
    assert plan(model, gib=exact * 1.0001, requests=16, margin=0).level == "pass"
    assert plan(model, gib=exact * 1.0001, requests=16, margin=0.03).level == "risk"
    assert plan(model, gib=exact * 0.9999, requests=16, margin=0).level == "fail"


def test_a_risk_counts_as_inconclusive_and_says_so(make):
    model = make()
    made = plan(model, gib=1, requests=16)
    tight = (made.answer.needed + sum(b.amount.value or 0 for b in made.memory.buckets if b.name != "margin")) / 0.9
    risky = plan(model, gib=tight * 1.0001 / GIB, requests=16)
    assert risky.outcome.verdict is Verdict.INCONCLUSIVE
    assert risky.outcome.reason.startswith("risk")


def test_the_required_utilization_is_enough(make):
    model = make()
    tight = plan(model, gib=0.3, requests=40, utilization=0.3)
    assert tight.level == "fail"
    share = tight.answer.utilization
    assert share is not None
    assert plan(model, gib=0.3, requests=40, utilization=share + 0.001).level == "pass"
    assert plan(model, gib=0.3, requests=40, utilization=share - 0.01).level != "pass"


def test_unknown_memory_is_inconclusive_with_the_reason(make):
    made = make_plan(make(), Layout(), Serving(), RULES, unknown("bytes", "no public source"))
    assert made.outcome.verdict is Verdict.INCONCLUSIVE
    assert "no public source" in made.outcome.reason
    assert made.answer.needed > 0


@pytest.mark.parametrize("field", ["vocab_size", "intermediate_size", "num_attention_heads", "hidden_size"])
def test_a_missing_field_is_named(make, field):
    made = plan(make(**{field: None, "head_dim": 32}))
    assert made.outcome.verdict is Verdict.INCONCLUSIVE
    assert field in made.outcome.reason


def test_a_size_that_does_not_divide_is_refused_with_the_numbers(make):
    with pytest.raises(UsageError, match="8 attention heads do not divide by tensor-parallel size 3"):
        plan(make(), layout=Layout(tp=3))


def test_an_unknown_context_must_be_named(make):
    with pytest.raises(UsageError, match="context is unknown"):
        plan(make(max_position_embeddings=None))
    assert plan(make(max_position_embeddings=None), max_model_len=512).asked.length == 512


def test_the_baseline_is_answered_where_the_context_allows(make):
    made = plan(make(max_position_embeddings=131072), gib=64)
    assert (made.baseline.length, made.baseline.requests, made.baseline.level) == (131072, 16, "pass")
    short = plan(make(), gib=64)
    assert short.baseline is None
    assert any("not applicable" in n for n in short.notes)


def test_weights_that_do_not_fit_are_the_limit(make):
    made = plan(make(), gib=0.003)
    assert made.level == "fail"
    assert made.limiting.startswith("device memory")


def test_eager_has_no_graphs_and_a_calibration_fills_the_unknown_buckets(make):
    assert {"graphs", "runtime"} == set(plan(make()).memory.unknown)
    assert {"runtime"} == set(plan(make(), eager=True).memory.unknown)
    learnt = Calibration(graphs=Learnt(value=1e6, note="log"), runtime=Learnt(value=2e6, note="log"))
    made = make_plan(make(), Layout(), Serving(), RULES, device(1), calibration=learnt)
    assert made.memory.unknown == ()
    assert made.memory.for_kv == plan(make()).memory.for_kv - 3_000_000


def test_changes_are_planned_anew_and_ordered_by_cost(make):
    model = make()
    made = plan(model, gib=0.3, requests=40, utilization=0.3)
    found = changes(model, made, RULES, device(0.3), 8, margin_share=0.03, calibration=Calibration())
    assert found
    costs = [c.cost for c in found]
    order = ["prefill speed", "less headroom", "accuracy to be checked", "what is asked for", "more devices"]
    assert costs == sorted(costs, key=order.index)
    assert found[0].flag.startswith(("--max-num-batched", "--gpu-memory"))
    assert any(c.level == "pass" for c in found)


def test_replicas_share_the_requests(make):
    assert plan(make(), requests=16, layout=Layout(dp=4)).asked.requests == 4


def test_a_stage_holds_only_its_layers_in_the_cache(make):
    one, two = plan(make()), plan(make(), layout=Layout(pp=2))
    assert two.pool.block_bytes * 2 == one.pool.block_bytes


def test_a_plan_costs_no_more_than_a_third_of_a_second_of_todays_processor(make):
    model = make(num_hidden_layers=128, max_position_embeddings=262144)
    assert million_turns(lambda: plan(model, gib=64, requests=16)) < 12


def test_one_block_is_never_handed_out(make):
    made = plan(make(), gib=1, requests=3)
    blocks = made.answer.needed // made.pool.block_bytes
    assert blocks == 3 * 4096 // 16 + 1


def test_a_window_holds_what_is_in_flight_besides(make):
    made = plan(make(model_type="mistral", sliding_window=64), gib=1, max_num_batched_tokens=512)
    in_flight = 2 * 512  # the CUDA engine schedules two batches at once
    assert made.answer.needed // made.pool.block_bytes == -(-(63 + in_flight) // 16) + 1 + 1
