"""Seeded unfairnesses and bad inputs: each is caught, named, and no percentage, winner or chart comes of it."""

from __future__ import annotations

import pytest
from tests.measure.made import facts, metrics, side

from seatrial.core.record import replace
from seatrial.core.verdict import Verdict
from seatrial.measure.compare.fairness import fairness
from seatrial.measure.compare.report import Loaded, better, master, report
from seatrial.measure.compare.setup import Setup
from seatrial.measure.compare.verdict import judge
from seatrial.measure.load.generator import LoadRun
from seatrial.measure.load.metrics import Spread, measure
from seatrial.measure.load.records import RequestRecord
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Sla

A = [100.0, 101.0, 99.5, 100.5, 100.2]
B = [110.0, 111.0, 109.5, 110.5, 110.2]
UNDER_TEST = ["flag.max-num-seqs"]

# What differs on side B, and the field that must be named. All but the last few can never be declared away.
UNFAIR = {
    "other weights": ({"model": "weights-2"}, "model"),
    "other tokenizer": ({"tokenizer": "tokenizer-2"}, "tokenizer"),
    "tokenizer unknown": ({"tokenizer": None}, "tokenizer"),
    "model unknown": ({"model": None}, "model"),
    "other dtype": ({"dtype": "float16"}, "dtype"),
    "other quantisation": ({"quantization": "w8a8"}, "quantization"),
    "quantisation unknown": ({"quantization": None}, "quantization"),
    "other devices": ({"devices": "8 x 910B2"}, "devices"),
    "fewer devices": ({"devices": "4 x 910B3"}, "devices"),
    "other visible order": ({"device_order": "3,2,1,0"}, "device_order"),
    "other tensor parallel": ({"tensor_parallel": 8}, "tensor_parallel"),
    "other order of requests": ({"workload__order": "shuffled otherwise"}, "workload.order"),
    "other dataset": ({"workload__dataset": "another file"}, "workload.dataset"),
    "more requests": ({"workload__requests": 40}, "workload.requests"),
    "other concurrency": ({"workload__concurrency": 8}, "workload.concurrency"),
    "other rate": ({"workload__rate": 5.0}, "workload.rate"),
    "other arrivals": ({"workload__arrivals": "constant"}, "workload.arrivals"),
    "other seed": ({"workload__seed": 1}, "workload.seed"),
    "shorter answers": ({"workload__output_tokens": 40}, "workload.output_tokens"),
    "other shared prefix": ({"workload__prefix_tokens": 4}, "workload.prefix_tokens"),
    "other api": ({"workload__api": "chat"}, "workload.api"),
    "more warm-up": ({"workload__warmup": 10}, "workload.warmup"),
    "warm-up missing": ({"workload__warmup": 0}, "workload.warmup"),
    "other temperature": ({"sampling__temperature": 1.0}, "sampling.temperature"),
    "temperature left to the server": ({"sampling__temperature": "server default"}, "sampling.temperature"),
    "answers may end early": ({"sampling__ignore_eos": False}, "sampling.ignore_eos"),
    "other top-p": ({"sampling__top_p": 0.9}, "sampling.top_p"),
    "not streamed": ({"sampling__stream": False}, "sampling.stream"),
    "other service level": ({"sla": "ttft p99 <= 900 ms"}, "sla"),
    "profiler attached": ({"profiler_attached": True}, "profiler_attached"),
    "profiler unknown": ({"profiler_attached": None}, "profiler_attached"),
    "other tool": ({"tool": "evalscope"}, "tool"),
    "other engine version, not declared": ({"engine__version": "0.31.0"}, "engine.version"),
    "engine version unknown": ({"engine__version": None}, "engine.version"),
    "other flag, not declared": ({"flag.block-size": "128"}, "flag.block-size"),
    "other variable, not declared": ({"env.HCCL_OP_EXPANSION_MODE": "AI_CPU"}, "env.HCCL_OP_EXPANSION_MODE"),
}


@pytest.mark.parametrize("name", sorted(UNFAIR))
def test_an_unfair_comparison_gives_only_the_list(name):
    changes, field = UNFAIR[name]
    a = side(A)
    b = side(B, label="B", **{"flag.max-num-seqs": "8", **changes})
    judged = judge(a, b, under_test=UNDER_TEST)
    assert judged.answer == "inconclusive"
    assert field in [d.field for d in judged.fairness.forbidden()]
    assert judged.figures == {}
    assert judged.winner == ""
    assert better(judged) == {}
    loaded = Loaded(judged=judged, a=tuple(a), b=tuple(b))
    for language in ("en", "zh"):
        text = report(loaded, language)
        assert field in text
        assert "%" not in text.replace("95 % interval", "").replace("95% 区间", "")
        assert [f for f in master([loaded], language) if f.endswith(".svg")] == []


@pytest.mark.parametrize("field", ["model", "tokenizer", "workload.order", "sla", "sampling.temperature", "devices"])
def test_what_changes_the_question_cannot_be_declared(field):
    key = field.replace(".", "__")
    found = fairness(
        Setup(label="A", facts=facts()), Setup(label="B", facts=facts(**{key: "other"})), [field, "workload.*"]
    )
    assert field in [d.field for d in found.forbidden()]
    assert "cannot be declared" in next(d.why for d in found.differences if d.field == field)


@pytest.mark.parametrize(
    "field", ["model", "dtype", "devices", "workload.order", "profiler_attached", "engine.version"]
)
def test_two_unknowns_are_not_the_same(field):
    changes = {field.replace(".", "__"): None}
    judged = judge(
        side(A, **changes), side(B, label="B", **changes, **{"flag.max-num-seqs": "8"}), under_test=UNDER_TEST
    )
    assert judged.answer == "inconclusive"
    assert [d.field for d in judged.fairness.forbidden()] == [field]
    assert "both sides" in judged.fairness.forbidden()[0].why


def test_the_declared_difference_alone_is_fair():
    judged = judge(side(A), side(B, label="B", **{"flag.max-num-seqs": "8"}), under_test=UNDER_TEST)
    assert judged.fairness.is_fair
    assert judged.answer == "pass"
    assert judged.winner == "B"


def test_a_declared_difference_that_is_none_tested_nothing():
    judged = judge(side(A), side(B, label="B"), under_test=UNDER_TEST)
    assert judged.answer == "inconclusive"
    assert "nothing was tested" in judged.fairness.differences[0].why


SPREAD = Spread(avg=100.0, p50=100.0, p90=None, p99=None)
# What is wrong with the runs of side B, and the words that must say so.
UNFIT = {
    "partial run": ({"is_complete": False, "partial": "the service died after 3 requests"}, "service died"),
    "zero successes": (
        {"success": 0, "failed": 20, "request_throughput": None, "is_complete": False, "partial": "no request"},
        "no request",
    ),
    "missing figure": ({"request_throughput": None}, "unknown"),
    "figure of zero": ({"request_throughput": 0.0}, "unknown"),
    "figure that is no number": ({"request_throughput": float("nan")}, "unknown"),
}


@pytest.mark.parametrize("name", sorted(UNFIT))
def test_an_unfit_run_gives_no_verdict(name):
    changes, words = UNFIT[name]
    b = side(B, label="B", **{"flag.max-num-seqs": "8"})
    b[2] = replace(b[2], metrics=replace(b[2].metrics, **changes))
    judged = judge(side(A), b, under_test=UNDER_TEST)
    assert judged.answer in ("inconclusive", "smoke-only")
    assert words in judged.reason
    assert "request_throughput" not in judged.figures


@pytest.mark.parametrize(
    "doubt", ["nobody looked before the service started", "no warm-up: a cold start", "the generator was late"]
)
def test_a_debug_run_allows_no_percentage(doubt):
    b = side(B, label="B", level="debug", doubts=(doubt,), **{"flag.max-num-seqs": "8"})
    judged = judge(side(A), b, under_test=UNDER_TEST)
    assert judged.answer == "smoke-only"
    assert doubt in judged.reason
    assert judged.figures == {}


def test_runs_of_one_side_that_are_no_repeats_are_named():
    b = side(B, label="B", **{"flag.max-num-seqs": "8"})
    b[1] = replace(b[1], setup=replace(b[1].setup, facts={**b[1].setup.facts, "flag.block-size": "16"}))
    judged = judge(side(A), b, under_test=UNDER_TEST)
    assert judged.answer == "smoke-only"
    assert "flag.block-size" in judged.reason


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"ttft_ms": SPREAD}, Verdict.INCONCLUSIVE),
        ({"ttft_ms": None}, Verdict.INCONCLUSIVE),
        ({"failed": 3}, Verdict.FAIL),
        ({"failed": None}, Verdict.INCONCLUSIVE),
        ({"is_complete": False, "partial": "cut"}, Verdict.INCONCLUSIVE),
        ({"ttft_ms": Spread(p99=501.0)}, Verdict.FAIL),
        ({}, Verdict.PASS),
    ],
)
def test_a_service_level_holds_only_where_it_was_seen_to_hold(changes, verdict):
    assert judge_sla(metrics(**changes), [Sla(metric="ttft", limit_ms=500)]).verdict is verdict


def test_a_better_side_that_breaks_the_service_level_fails():
    b = side(B, label="B", figures={"ttft_ms": Spread(avg=600, p50=600, p99=900.0)}, **{"flag.max-num-seqs": "8"})
    judged = judge(side(A), b, under_test=UNDER_TEST, sla=[Sla(metric="ttft", limit_ms=500)])
    assert judged.answer == "fail"
    assert "break the service level" in judged.reason


def record(index=0, **changes):
    base = {
        "index": index,
        "warmup": False,
        "intended_s": 1.0,
        "sent_s": 1.001,
        "first_s": 1.01,
        "end_s": 1.1,
        "chunks_s": (1.01, 1.05),
        "prompt_tokens": 8,
        "output_tokens": 2,
        "asked_tokens": 2,
        "how": "ok",
    }
    return RequestRecord(**{**base, **changes})


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([record(end_s=0.5)], "clock jumped"),
        ([record(first_s=0.9, chunks_s=(0.9, 1.05))], "clock jumped"),
        ([record(first_s=1.05, chunks_s=(1.01, 1.05))], "clock jumped"),
        ([record(output_tokens=1)], "another length"),
        ([record(), record(1, how="cut", error="gone")], "1 of 2 requests failed"),
        ([record(warmup=True, how="cut"), record()], "warm-up failed"),
        ([record()], "no warm-up"),
    ],
)
def test_records_that_cannot_carry_a_claim_are_doubted(records, words):
    run = LoadRun(records=tuple(records), planned=len(records), duration_s=1.0, partial="")
    seen = measure(run, concurrency=1, rate=0.0, stream=True, exact_length=True, speculative=None)
    assert any(words in doubt for doubt in seen.doubts)


def test_latency_runs_from_when_a_request_was_due_and_not_from_when_it_was_sent():
    late = record(intended_s=1.0, sent_s=1.5, first_s=1.6, end_s=1.8, chunks_s=(1.6, 1.8))
    run = LoadRun(records=(late,), planned=1, duration_s=1.0, partial="")
    seen = measure(run, concurrency=0, rate=1.0, stream=True, exact_length=True, speculative=None)
    assert seen.ttft_ms.p50 == pytest.approx(600)
    assert seen.e2e_ms.p50 == pytest.approx(800)
    assert seen.tpot_ms.p50 == pytest.approx(200)
    assert seen.request_throughput == pytest.approx(1 / 0.8)


def test_a_late_or_busy_generator_is_doubted():
    run = LoadRun(records=(record(),), planned=1, duration_s=1.0, partial="", late_p99_s=0.02, cpu_share=0.99)
    seen = measure(run, concurrency=1, rate=0.0, stream=True, exact_length=True, speculative=None)
    assert sum("bottleneck" in doubt for doubt in seen.doubts) == 2


def test_at_least_forty_faults_are_seeded():
    assert len(UNFAIR) + len(UNFIT) >= 40


def test_answers_that_came_all_at_one_moment_give_no_time_between_tokens_and_hold_no_service_level():
    at_once = [record(i, first_s=1.05, chunks_s=(1.05, 1.05, 1.05), output_tokens=9, asked_tokens=9) for i in range(3)]
    parted = record(3, chunks_s=(1.01, 1.01, 1.09), output_tokens=9, asked_tokens=9)

    def seen(records):
        run = LoadRun(records=tuple(records), planned=len(records), duration_s=1.0, partial="")
        return measure(run, concurrency=1, rate=0.0, stream=True, exact_length=True, speculative=None)

    none = seen([*at_once, parted])
    assert none.tpot_ms is None
    assert none.itl_ms is None
    assert "more than one piece" in none.unknown["tpot_ms"]
    assert judge_sla(none, [Sla(metric="tpot", limit_ms=50)]).verdict is Verdict.INCONCLUSIVE
    some = seen([at_once[0], parted])
    assert some.tpot_ms.n == 1
    assert some.tpot_ms.p99 == pytest.approx(10)
    assert some.itl_ms.p50 == pytest.approx(80)
    assert any("1 of 2 answers came all at one moment" in n for n in some.notes)
