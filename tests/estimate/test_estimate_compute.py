"""FLOPs, bytes and bounds against closed forms; the array form against the plain one."""

from __future__ import annotations

import pytest
from tests.cost import million_turns
from tests.estimate.test_estimate_zoo import read

from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.estimate import Layout, Serving, engine_rules
from seatrial.estimate.compute import _pairs, lay_out
from seatrial.estimate.measured import Run, reached
from seatrial.estimate.roofline import rates, speed
from seatrial.targets.hardware import load_hardware

RULES = engine_rules("cuda")
SERVING = Serving(max_model_len=4096)
MOE = {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}


def work(model, **layout):
    return lay_out(model, Layout(**layout), SERVING, RULES)


def flops(parts):
    return sum(p.flops for p in parts)


def test_a_dense_prefill_is_two_flops_per_weight_and_token_plus_attention(make):
    tokens = 300
    layer = (256 + 2 * 64) * 256 + 256 * 256 + 3 * 512 * 256
    linear = 2 * tokens * 4 * layer + 2 * 1024 * 256  # one row of logits
    pairs = tokens * (tokens + 1) // 2
    core = 4 * 2 * 8 * (32 + 32) * pairs
    assert flops(work(make()).step(1, tokens, 0)) == linear + core
    full = flops(work(make()).step(1, tokens, 0, causal=False))
    assert full - (linear + core) == 4 * 2 * 8 * 64 * (tokens * tokens - pairs)


@pytest.mark.parametrize(("window", "chunk"), [(0, 0), (5, 0), (1, 0), (100, 0), (0, 4), (0, 7), (0, 1)])
@pytest.mark.parametrize(("new", "context"), [(1, 0), (1, 9), (12, 0), (12, 3), (3, 30)])
def test_pairs_equal_counting_them_one_by_one(new, context, window, chunk):
    counted = 0
    for query in range(context, context + new):
        first = max(0, query - window + 1) if window else query // chunk * chunk if chunk else 0
        counted += query - first + 1
    assert _pairs(new, context, window, chunk, True) == counted


def test_experts_cost_what_is_chosen_and_read_what_is_expected(make):
    parts = {p.part: p for p in work(make(**MOE)).step(1, 1, 10, decode=True)}
    one = 3 * 64 * 256
    assert parts["experts"].flops == 4 * 2 * 2 * one
    assert parts["experts"].weight_bytes == pytest.approx(4 * 2 * one * 2)  # one token: exactly its two experts
    many = {p.part: p for p in work(make(**MOE)).step(16, 1, 10, decode=True)}
    distinct = 8 * (1 - (1 - 2 / 8) ** 16)
    assert many["experts"].weight_bytes == pytest.approx(4 * distinct * one * 2)
    assert distinct < 8


def test_tensor_parallel_ranks_together_do_the_same_work(make):
    # (The KV heads divide by two, so nothing is done twice.)
    one, two = flops(work(make()).step(4, 64, 0)), flops(work(make(), tp=2).step(4, 64, 0))
    assert one == pytest.approx(2 * two)
    sent = [p for p in work(make(), tp=2).step(4, 64, 0) if p.wire_bytes]
    assert [p.part for p in sent] == ["all-reduce (TP)", "logits gather (TP)"]
    assert sent[0].wire_bytes == 8 * 4 * 64 * 256 * 2 * 2 * (1 / 2)


def test_expert_parallel_replicas_exchange_their_tokens(make):
    parts = {p.part: p for p in work(make(**MOE), dp=4, ep=True).step(4, 1, 8, decode=True)}
    assert parts["all-to-all (EP)"].wire_bytes == 4 * 2 * (4 * 256 * 2) * 2 * 3 / 4
    alone = {p.part: p for p in work(make(**MOE)).step(16, 1, 8, decode=True)}
    assert parts["experts"].flops * 4 == pytest.approx(alone["experts"].flops)


def test_a_decode_step_reads_all_weights_and_the_cache(make):
    parts = work(make()).step(2, 1, 100, decode=True)
    layer = (256 + 2 * 64) * 256 + 256 * 256 + 3 * 512 * 256
    assert sum(p.weight_bytes for p in parts) == 2 * (4 * layer + 1024 * 256)
    assert sum(p.cache_bytes for p in parts) == 2 * 4 * (2 * 64 * 2) * (101 + 1)


def test_bounds_name_the_unknown_field_and_give_no_number(make):
    bounds = speed(work(make()), load_hardware("kunlun-p800"), batch=1, prompt=10, output=10)
    assert bounds.ttft_s is None
    assert bounds.tokens_per_s is None
    assert set(bounds.decode.lacking) == {"peak.bf16", "memory_bandwidth"}


def test_decode_is_bound_by_memory_and_prefill_by_compute(make):
    model = make(hidden_size=2048, intermediate_size=8192)
    bounds = speed(work(model), load_hardware("nvidia-h200-sxm"), batch=1, prompt=4096, output=10)
    assert (bounds.prefill.binding, bounds.decode.binding) == ("compute", "memory")
    read = sum(x.read_bytes for x in bounds.decode.lines)
    assert bounds.tpot_s == pytest.approx(read / 4.8e12)


def test_accepted_drafts_share_a_step(make):
    found = work(make())
    hardware = load_hardware("nvidia-h200-sxm")
    plain = speed(found, hardware, batch=1, prompt=100, output=10)
    drafted = speed(found, hardware, batch=1, prompt=100, output=10, spec=3, accept=1.0)
    assert drafted.tpot_s == pytest.approx(drafted.decode.seconds / 4)
    assert drafted.tpot_s < plain.tpot_s


def test_a_run_faster_than_its_bound_is_a_finding(make):
    found, hardware = work(make()), load_hardware("nvidia-h200-sxm")
    least = speed(found, hardware, batch=1, prompt=100, output=10).tpot_s
    honest = reached(Run(schema_version=1, batch=1, prompt=100, output=10, tpot_s=2 * least), found, hardware)
    assert not honest.findings
    assert honest.ratio_tpot == pytest.approx(2)
    assert 0 < honest.decode_mbu <= 0.5 + 1e-9
    wrong = reached(Run(schema_version=1, batch=1, prompt=100, output=10, tpot_s=least / 2), found, hardware)
    assert [f.code for f in wrong.findings] == ["P001"]


def test_an_unknown_fp8_peak_falls_back_to_the_wider_format_only(make):
    from msgspec.structs import replace

    q = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    found = work(make(quantization_config=q, intermediate_size=512))
    ascend = load_hardware("ascend-910b3")
    assert rates(ascend, found).peak["fp8"] == ascend.peak["bf16"].value
    none = replace(ascend, peak={"int8": Quantity(value=1e12, unit="operations/s", source=Source.DECLARED, note="t")})
    assert "peak.fp8" in rates(none, found).lacking
    assert unknown("x", "y").value is None


def test_ten_thousand_points_cost_no_more_than_five_seconds_of_todays_processor_and_equal_single_ones(make):
    pytest.importorskip("numpy")

    from seatrial.estimate.whatif import Axes, what_if

    model, hardware = make(**MOE), load_hardware("nvidia-h200-sxm")
    axes = Axes(
        tp=(1, 2),
        ep=(False, True),
        batch=tuple(range(1, 64)),
        prompt=(128, 1024),
        output=(16, 64),
        spec=(0, 1, 2, 3, 4),
        accept=(0.0, 0.7),
    )
    made = []
    assert million_turns(lambda: made.append(what_if(model, hardware, RULES, SERVING, axes))) < 200
    (table,) = made
    assert table.points == 2 * 2 * 63 * 2 * 2 * 5 * 2 == 10080
    for i in range(0, table.points, 997):
        at = {k: v[i] for k, v in table.columns.items()}
        one = speed(
            work(model, tp=int(at["tp"]), ep=bool(at["ep"])), hardware, batch=int(at["batch"]),
            prompt=int(at["prompt"]),
            output=int(at["output"]), spec=int(at["spec"]), accept=at["accept"],
        )  # fmt: skip
        assert at["ttft_s"] == pytest.approx(one.ttft_s)
        assert at["tpot_s"] == pytest.approx(one.tpot_s)


def test_the_table_is_of_the_stages_and_replicas_that_were_asked_for(make):
    pytest.importorskip("numpy")
    from seatrial.estimate.whatif import Axes, what_if

    model, hardware = make(**MOE), load_hardware("nvidia-h200-sxm")
    columns = what_if(model, hardware, RULES, SERVING, Axes(tp=(2,), pp=2, dp=2, batch=(8,))).columns
    one = speed(work(model, tp=2, pp=2, dp=2), hardware, batch=8, prompt=1024, output=256)
    for name in ("ttft_s", "tpot_s", "tokens_per_s", "tokens_per_s_device"):
        assert columns[name] == [pytest.approx(getattr(one, name))]


def test_layouts_that_do_not_divide_are_named_in_the_table(make):
    pytest.importorskip("numpy")
    from seatrial.estimate.whatif import Axes, what_if

    table = what_if(make(), load_hardware("nvidia-h200-sxm"), RULES, SERVING, Axes(tp=(1, 3)))
    assert table.points == 1
    assert "tensor-parallel size 3" in table.skipped[0]


# torch 2.13's FlopCounterMode over transformers' class, 2 sequences of 1,024 tokens (bench/plan_flops.py).
COUNTED = {
    "FalconH1ForCausalLM": 35_031_399_792_640,
    "Mamba2ForCausalLM": 31_491_000_107_008,
    "GraniteMoeHybridForCausalLM": 53_122_853_240_832,
    "JambaForCausalLM": 7_154_343_346_176,
}


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_models_with_mamba_agree_with_torchs_count_and_their_bound_is_below_it(name, tmp_path):
    work = lay_out(read(name, tmp_path), Layout(), Serving(max_model_len=1024), engine_rules("cuda"))

    def total(**options):
        return sum(p.flops for p in work.step(2, 1024, 0, all_logits=True, **options))

    assert total(causal=False) == pytest.approx(COUNTED[name], rel=0.001)
    assert total() <= total(causal=False)
