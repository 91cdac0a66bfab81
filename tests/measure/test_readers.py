"""Outside tools' results in every generation of keys; what is missing is unknown, never 0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.measure.made import metrics
from tests.measure.test_evalscope_results import MIDDLE, NEW, OLD

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import to_json
from seatrial.core.verdict import Verdict
from seatrial.measure.load.readers import READERS, read_results
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Sla

DATA = Path(__file__).parent / "data"
TTFT_P99 = [Sla(metric="ttft", limit_ms=500)]


def test_the_file_that_vllm_bench_serve_wrote():
    (found,) = read_results(DATA / "vllm-0.32.json")
    seen = found.metrics
    assert seen.tool == "vllm"
    assert (seen.total, seen.success, seen.failed, seen.concurrency) == (40, 40, 0, 4)
    assert seen.request_throughput == pytest.approx(75.843, abs=0.001)
    assert (seen.input_tokens, seen.output_tokens) == (1297, 640)
    assert seen.ttft_ms.p50 == pytest.approx(48.6196, abs=0.001)
    assert seen.ttft_ms.p99 is not None
    assert seen.e2e_ms.p99 is not None
    # The file does not say how many warmed up.
    assert seen.warmup is None
    assert any("warmed up is unknown" in d for d in seen.doubts)


def test_percentiles_that_vllm_was_not_asked_for_are_unknown(tmp_path):
    data = json.loads((DATA / "vllm-0.32.json").read_text())
    kept = {k: v for k, v in data.items() if not k.startswith("p9") and "itl" not in k}
    (tmp_path / "r.json").write_text(json.dumps(kept))
    seen = read_results(tmp_path / "r.json")[0].metrics
    assert seen.ttft_ms.p99 is None
    assert seen.ttft_ms.p50 is not None
    assert seen.itl_ms is None
    assert judge_sla(seen, TTFT_P99).verdict is Verdict.INCONCLUSIVE


def test_the_file_that_guidellm_0_8_wrote():
    (found,) = read_results(DATA / "guidellm-0.8.json")
    seen = found.metrics
    assert (seen.tool, seen.tool_version, seen.total, seen.success, seen.concurrency) == (
        "guidellm",
        "0.8.1",
        20,
        20,
        4,
    )
    assert seen.ttft_ms.p99 == pytest.approx(17.697, abs=1e-3)
    assert seen.tpot_ms.avg == pytest.approx(2.8789, abs=1e-3)
    assert seen.e2e_ms.p50 == pytest.approx(35.487, abs=1e-3)
    assert seen.output_tokens == 160


def test_the_file_that_aiperf_0_13_wrote():
    # It has a schema_version and an is_complete of its own, and is not taken for ours.
    (found,) = read_results(DATA / "aiperf-0.13.json")
    seen = found.metrics
    assert (seen.tool, seen.tool_version, seen.success, seen.failed) == ("aiperf", "0.13.0", 20, 0)
    assert (seen.warmup, seen.concurrency) == (2, 4)
    assert seen.ttft_ms.p50 > 10
    assert seen.itl_ms is not None
    # Three tokens of its tokenizer for each that the server counted: said, not passed on in silence.
    assert seen.output_tokens == 480
    assert any("the server 160" in d for d in seen.doubts)
    assert seen.is_complete


def distribution(mean, count=20):
    percentiles = {"p50": mean, "p90": mean * 1.1, "p99": mean * 1.2}
    base = {"mean": mean, "median": mean, "min": mean * 0.9, "max": mean * 1.3, "count": count}
    return {"successful": {**base, "total_sum": mean * count, "percentiles": percentiles}}


def test_guidellm_has_its_own_names_for_the_same_things(tmp_path):
    run = {
        "config": {"strategy": {"type_": "concurrent", "streams": 4}},
        "duration": 2.0,
        "metrics": {
            "request_totals": {"successful": 20, "errored": 0, "incomplete": 0, "total": 20},
            "requests_per_second": distribution(10.0),
            "request_latency": distribution(0.4),
            "prompt_token_count": distribution(8.0),
            "output_token_count": distribution(4.0),
            "time_to_first_token_ms": distribution(100.0),
            "inter_token_latency_ms": distribution(20.0),
            "time_per_output_token_ms": distribution(100.0),
            "output_tokens_per_second": distribution(40.0),
            "tokens_per_second": distribution(120.0),
        },
    }
    (tmp_path / "benchmarks.json").write_text(json.dumps({"metadata": {}, "benchmarks": [run, run]}))
    found = read_results(tmp_path)
    assert len(found) == 2
    seen = found[0].metrics
    assert seen.tool == "guidellm"
    assert seen.concurrency == 4
    assert seen.tpot_ms.avg == pytest.approx(20.0)
    assert seen.e2e_ms.avg == pytest.approx(400.0)
    assert seen.itl_ms is None
    assert "itl_ms" in seen.unknown


def test_guidellms_summary_of_nothing_is_unknown(tmp_path):
    zero = {"successful": {"mean": 0.0, "median": 0.0, "count": 0, "percentiles": {"p99": 0.0}}}
    run = {"metrics": {"request_totals": {"successful": 3, "errored": 0, "total": 3}, "time_to_first_token_ms": zero}}
    (tmp_path / "benchmarks.json").write_text(json.dumps({"benchmarks": [run]}))
    seen = read_results(tmp_path)[0].metrics
    assert seen.ttft_ms is None
    assert judge_sla(seen, TTFT_P99).verdict is Verdict.INCONCLUSIVE


def aiperf(unit="ms", factor=1.0):
    def one(value, u=unit, f=factor):
        return {"unit": u, "avg": value * f, "p50": value * f, "p90": 1.1 * value * f, "p99": 1.2 * value * f}

    return {
        "aiperf_version": "0.13.0",
        "request_latency": one(400.0),
        "time_to_first_token": one(100.0),
        "inter_token_latency": one(20.0),
        "inter_chunk_latency": one(21.0),
        "request_throughput": {"unit": "requests/sec", "avg": 10.0},
        "output_token_throughput": {"unit": "tokens/sec", "avg": 40.0},
        "request_count": {"unit": "requests", "avg": 20.0},
        "benchmark_duration": {"unit": "sec", "avg": 2.0},
        "error_summary": [],
        "was_cancelled": False,
    }


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1.0), ("ns", 1e6), ("us", 1e3), ("sec", 1e-3)])
def test_aiperf_says_its_units_and_they_decide(tmp_path, unit, factor):
    (tmp_path / "profile_export_aiperf.json").write_text(json.dumps(aiperf(unit, factor)))
    seen = read_results(tmp_path)[0].metrics
    assert seen.ttft_ms.p99 == pytest.approx(120.0)
    assert seen.tpot_ms.avg == pytest.approx(20.0)
    assert seen.itl_ms.avg == pytest.approx(21.0)
    assert (seen.success, seen.failed, seen.duration_s) == (20, 0, 2.0)


def test_an_unknown_unit_makes_a_figure_unknown(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({**aiperf(), "time_to_first_token": {"unit": "ticks", "p99": 3}}))
    seen = read_results(tmp_path)[0].metrics
    assert seen.ttft_ms is None
    assert any("ticks" in d for d in seen.doubts)


def test_a_cancelled_aiperf_run_is_partial(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({**aiperf(), "was_cancelled": True}))
    assert not read_results(tmp_path)[0].metrics.is_complete


def test_the_seeds_zero_percentiles_are_unknown(tmp_path):
    row = {
        "requests_per_sec": 0.07,
        "output_tokens_per_sec": 66.8,
        "avg_ttft_ms": 2397.0,
        "p99_ttft_ms": 0,
        "p99_tpot_ms": 0,
        "speculative_num_accepted_tokens_delta": 30,
        "speculative_num_draft_tokens_delta": 60,
        "evalscope_spec_accept_rate": 0.688,
        "success": 4,
        "total": 4,
    }
    (tmp_path / "metrics.json").write_text(json.dumps(row))
    seen = read_results(tmp_path)[0].metrics
    assert seen.tool == "seed"
    assert seen.ttft_ms.p99 is None
    assert seen.speculative.accept_rate == 0.5
    assert seen.speculative.client_accept_rate == 0.688
    assert judge_sla(seen, TTFT_P99).verdict is Verdict.INCONCLUSIVE


def test_our_own_file_reads_back(tmp_path):
    (tmp_path / "metrics.json").write_bytes(to_json(metrics()))
    assert read_results(tmp_path)[0].metrics == metrics()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"a": 1}', "null", '{"completed": 1}'])
def test_what_is_no_result_is_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(FileFormatError):
        read_results(tmp_path / "r.json")


def test_an_empty_folder_an_unknown_tool_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(FileFormatError):
        read_results(tmp_path)
    with pytest.raises(FileFormatError):
        read_results(tmp_path / "not there")
    with pytest.raises(UsageError, match="abacus"):
        read_results(tmp_path, "abacus")


def test_a_folder_that_is_no_tools_own_is_not_searched_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("seatrial.measure.load.readers.MOST_FILES", 20)
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(FileFormatError, match="holds over 20 files"):
        read_results(tmp_path)


def test_more_successes_than_requests_are_refused(tmp_path):
    (tmp_path / "r.json").write_text(
        json.dumps({"completed": 9, "num_prompts": 3, "duration": 1, "request_throughput": 9})
    )
    with pytest.raises(FileFormatError, match="9 requests succeeded of 3"):
        read_results(tmp_path / "r.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SAMPLES = (
    OLD,
    MIDDLE,
    NEW,
    {**aiperf(), "error_summary": [{"count": 1}], "input_config": {}},
    {**json.loads((DATA / "vllm-0.32.json").read_text()), "errors": []},
    {"benchmarks": [{"metrics": {}}], "metadata": {}},
)


@pytest.mark.parametrize(
    "result",
    [
        '{"benchmarks": [{"metrics": {}}], "metadata": "0.8"}',
        '{"request_latency": {"unit": "ms", "avg": 1}, "error_summary": [{"count": "some"}]}',
        '{"request_latency": {"unit": "ms", "avg": 1}, "error_summary": [{"count": 1e999}]}',
        '{"completed": 1, "duration": 1, "request_throughput": 1, "errors": 5}',
    ],
)
def test_a_field_of_another_type_than_the_tools_is_unknown(tmp_path, result):
    (tmp_path / "r.json").write_text(result)
    seen = read_results(tmp_path / "r.json")[0].metrics
    assert seen.failed is None
    assert seen.errors == {}


def test_a_name_that_stands_twice_among_very_many_is_found_at_once(tmp_path):
    names = ",".join(f'"k{i}":1' for i in range(300_000))
    (tmp_path / "r.json").write_text(f'{{{names},"z":1,"z":2}}')
    with pytest.raises(FileFormatError, match="'z' is there twice"):
        read_results(tmp_path / "r.json")


@given(st.sampled_from(SAMPLES), st.data())
def test_a_result_with_any_value_in_any_place_reads_or_is_refused(sample, data):
    import tempfile

    broken = dict(sample)
    for key in data.draw(st.lists(st.sampled_from(sorted(sample)), max_size=4)):
        broken[key] = data.draw(JSON)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "r.json"
        file.write_text(json.dumps(broken))
        try:
            found = read_results(file)
        except FileFormatError:
            return
        for one in found:
            to_json(one)
            assert one.metrics.ttft_ms is None or (one.metrics.ttft_ms.p99 or 0) >= 0


def test_every_tool_has_a_reader():
    assert set(READERS) == {"builtin", "evalscope", "vllm", "guidellm", "aiperf", "seed"}


def test_a_request_that_guidellm_lost_is_missed(tmp_path):
    # As 0.8.1 left it at 20 requests/s: 16 made, one still under way at the end, 15 in every count.
    data = json.loads((DATA / "guidellm-0.8.json").read_text())
    data["benchmarks"][0]["scheduler_state"] = {"created_requests": 21, "processing_requests": 1}
    (tmp_path / "r.json").write_text(json.dumps(data))
    assert "21 requests were made and 20 are accounted for" in read_results(tmp_path)[0].metrics.doubts


def test_guidellm_without_a_stream_has_no_time_between_tokens(tmp_path):
    data = json.loads((DATA / "guidellm-0.8.json").read_text())
    for name in ("time_to_first_token_ms", "inter_token_latency_ms"):
        data["benchmarks"][0]["metrics"][name]["successful"] = {"mean": 0.0, "count": 0 if "first" in name else 20}
    (tmp_path / "r.json").write_text(json.dumps(data))
    seen = read_results(tmp_path)[0].metrics
    assert (seen.ttft_ms, seen.tpot_ms) == (None, None)
