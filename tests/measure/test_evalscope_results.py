"""Results of evalscope in its three generations of keys, and with and without a stream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatrial.core.verdict import Verdict
from seatrial.measure.load.readers import read_results
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Sla

DATA = Path(__file__).parent / "data"
TTFT_P99 = [Sla(metric="ttft", limit_ms=500)]


# One run in the words of three generations, by the constants of each version's source.
OLD = {
    "Time taken for tests (s)": 2.0,
    "Number of concurrency": 4,
    "Request rate (req/s)": -1,
    "Total requests": 20,
    "Succeed requests": 20,
    "Failed requests": 0,
    "Output token throughput (tok/s)": 40.0,
    "Total token throughput (tok/s)": 120.0,
    "Request throughput (req/s)": 10.0,
    "Average latency (s)": 0.4,
    "Average time to first token (s)": 0.1,
    "Average time per output token (s)": 0.02,
    "Average inter-token latency (s)": 0.021,
    "Average input tokens per request": 8.0,
    "Average output tokens per request": 4.0,
}
MIDDLE = {
    "Test Duration (s)": 2.0,
    "Concurrency": 4,
    "Request Rate (req/s)": -1,
    "Total Requests": 20,
    "Success Requests": 20,
    "Failed Requests": 0,
    "Req Throughput (req/s)": 10.0,
    "Avg Latency (s)": 0.4,
    "Avg Input Tokens": 8.0,
    "Output Throughput (tok/s)": 40.0,
    "Total Throughput (tok/s)": 120.0,
    "TTFT (ms)": 100.0,
    "TPOT (ms)": 20.0,
    "ITL (ms)": 21.0,
    "Avg Output Tokens": 4.0,
    "Decoded Tok/Iter": 3.21,
    "Spec. Accept Rate": 0.688,
}
NEW = {
    **{k: v for k, v in MIDDLE.items() if k not in ("TTFT (ms)", "TPOT (ms)", "ITL (ms)", "Decoded Tok/Iter")},
    "Avg TTFT (ms)": 100.0,
    "Avg TPOT (ms)": 20.0,
    "Avg ITL (ms)": 21.0,
    "Avg Decoded Tok/Iter": 3.21,
}
OLD_ROWS = [
    {"Percentiles": f"{p}%", "TTFT (s)": 0.09 + p / 1000, "TPOT (s)": 0.02, "ITL (s)": 0.02, "Latency (s)": 0.4}
    for p in (10, 50, 90, 99)
]
ROWS = [
    {"Percentiles": f"{p}%", "TTFT (ms)": 90 + p, "TPOT (ms)": 20, "ITL (ms)": 20, "Latency (s)": 0.4}
    for p in (10, 50, 90, 99)
]


def evalscope(folder, summary, rows, args=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark_summary.json").write_text(json.dumps(summary))
    if rows is not None:
        (folder / "benchmark_percentile.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
    (folder / "benchmark_args.json").write_text(json.dumps(args or {"parallel": 4, "warmup_num": 2}))
    return folder


@pytest.mark.parametrize(
    ("summary", "rows"), [(OLD, OLD_ROWS), (MIDDLE, ROWS), (NEW, ROWS)], ids=["to 1.6", "1.7", "1.14"]
)
def test_all_generations_of_evalscope_read_the_same(tmp_path, summary, rows):
    (found,) = read_results(evalscope(tmp_path / "run", summary, rows))
    seen = found.metrics
    assert seen.tool == "evalscope"
    assert (seen.total, seen.success, seen.failed, seen.warmup, seen.concurrency) == (20, 20, 0, 2, 4)
    assert seen.rate is None
    assert seen.request_throughput == 10.0
    assert seen.output_throughput == 40.0
    assert (seen.input_tokens, seen.output_tokens) == (160, 80)
    assert seen.ttft_ms.avg == pytest.approx(100.0)
    assert seen.ttft_ms.p50 == pytest.approx(140.0)
    assert seen.ttft_ms.p99 == pytest.approx(189.0)
    assert seen.e2e_ms.avg == pytest.approx(400.0)
    assert judge_sla(seen, TTFT_P99).verdict is Verdict.PASS
    if summary is not OLD:
        assert seen.speculative.client_accept_rate == 0.688
        assert seen.speculative.accept_rate is None
        assert "weak" in seen.speculative.note


@pytest.mark.parametrize("rows", [None, '[{"Percentiles": "99%"', "", "[]"])
def test_without_percentiles_a_service_level_is_unknown_and_never_held(tmp_path, rows):
    (found,) = read_results(evalscope(tmp_path / "run", {**NEW, "Avg TTFT (ms)": 9999.0}, rows))
    assert found.metrics.ttft_ms.p99 is None
    assert judge_sla(found.metrics, TTFT_P99).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("value", ["N/A", None, float("nan"), True, [], -1])
def test_a_figure_that_is_no_number_is_unknown(tmp_path, value):
    summary = {**NEW, "Req Throughput (req/s)": value, "Avg TTFT (ms)": value}
    (found,) = read_results(evalscope(tmp_path / "run", summary, None))
    assert found.metrics.request_throughput is None
    assert "request_throughput" in found.metrics.unknown
    assert found.metrics.ttft_ms is None


def test_no_success_leaves_no_figure(tmp_path):
    summary = {**NEW, "Success Requests": 0, "Failed Requests": 20}
    seen = read_results(evalscope(tmp_path / "run", summary, ROWS))[0].metrics
    assert not seen.is_complete
    assert seen.request_throughput is None
    assert seen.ttft_ms is None
    assert judge_sla(seen, TTFT_P99).verdict is Verdict.FAIL


def test_mixed_units_are_doubted(tmp_path):
    # The average in milliseconds, the percentiles filled in with seconds under a column of milliseconds.
    rows = [{"Percentiles": f"{p}%", "TTFT (ms)": 0.1} for p in (50, 90, 99)]
    seen = read_results(evalscope(tmp_path / "run", NEW, rows))[0].metrics
    assert any("differ by a unit" in d for d in seen.doubts)


def test_falling_percentiles_are_doubted(tmp_path):
    rows = [{"Percentiles": f"{p}%", "TTFT (ms)": 200 - p} for p in (50, 90, 99)]
    seen = read_results(evalscope(tmp_path / "run", NEW, rows))[0].metrics
    assert any("fall instead of rising" in d for d in seen.doubts)


def test_the_files_that_evalscope_1_14_wrote():
    (found,) = read_results(DATA / "evalscope-1.14")
    seen = found.metrics
    assert (seen.tool, seen.total, seen.success, seen.warmup, seen.concurrency, seen.rate) == (
        "evalscope",
        20,
        20,
        2,
        4,
        None,
    )
    assert seen.ttft_ms.avg == 21.68
    assert seen.ttft_ms.p99 == pytest.approx(28.7437)
    assert seen.e2e_ms.p50 == pytest.approx(45.4)
    assert seen.unknown == {}


def test_what_evalscope_1_14_writes_without_a_stream_is_no_time_to_first_token():
    # A real file: "Avg TTFT (ms)" is the whole latency there, "Avg TPOT (ms)" and "Avg ITL (ms)" are 0.
    (found,) = read_results(DATA / "evalscope-1.14-no-stream")
    seen = found.metrics
    assert (seen.success, seen.request_throughput) == (16, 30.9216)
    assert (seen.ttft_ms, seen.tpot_ms, seen.itl_ms) == (None, None, None)
    assert seen.e2e_ms.avg == pytest.approx(64.5)
    assert judge_sla(seen, TTFT_P99).verdict is Verdict.INCONCLUSIVE


def test_gaps_of_pieces_that_came_together_are_no_sign_of_mixed_units(tmp_path):
    # Seen of a busy server: most pieces come with their neighbours, so the median gap is next to nothing.
    data = json.loads((DATA / "vllm-0.32.json").read_text())
    data.update(mean_itl_ms=0.3505, median_itl_ms=0.00395, p50_itl_ms=0.00395, p90_itl_ms=0.01, p99_itl_ms=9.0)
    (tmp_path / "r.json").write_text(json.dumps(data))
    assert not any("unit" in d for d in read_results(tmp_path)[0].metrics.doubts)
