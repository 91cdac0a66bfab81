"""Seeded bad inputs, one a line of a table: each is refused with its reason, or its figure is unknown or doubted.

With the unfairnesses of test_unfair.py they are the seeded faults of a bench; none may come through in silence.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.measure.conftest import WORKLOAD
from tests.measure.made import metrics, workload
from tests.measure.test_evalscope_results import NEW, OLD, OLD_ROWS, ROWS, evalscope
from tests.measure.test_readers import aiperf
from tests.measure.test_unfair import UNFAIR, UNFIT, record

from seatrial.core.errors import SeatrialError
from seatrial.core.record import replace
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.generator import LoadRun
from seatrial.measure.load.metrics import measure
from seatrial.measure.load.readers import read_results
from seatrial.measure.load.records import read_requests
from seatrial.measure.load.workload import read_workload
from seatrial.measure.search import candidates, read_space

DATA = Path(__file__).parent / "data"
VLLM = json.loads((DATA / "vllm-0.32.json").read_text())
GUIDE = json.loads((DATA / "guidellm-0.8.json").read_text())


def rows(**changes):
    return [{**row, **changes} for row in ROWS]


# A tool's summary (and percentiles beside it), and what must be said of it.
RESULTS = {
    "N/A for a throughput": ((dict(NEW, **{"Req Throughput (req/s)": "N/A"}), ROWS), "request_throughput"),
    "N/A for a percentile": ((NEW, rows(**{"TTFT (ms)": "N/A"})), "ttft p99"),
    "no percentile file": ((NEW, None), "percentiles are unknown"),
    "half a percentile file": ((NEW, '[{"Percentiles": "99%"'), "percentiles are unknown"),
    "an empty percentile file": ((NEW, ""), "percentiles are unknown"),
    "percentiles without a p99": ((NEW, [r for r in ROWS if r["Percentiles"] != "99%"]), "ttft p99"),
    "percentiles that fall": ((NEW, [dict(r, **{"TTFT (ms)": 200 - n}) for n, r in enumerate(ROWS)]), "fall instead"),
    "seconds in a column of ms": ((NEW, rows(**{"TTFT (ms)": 0.1})), "differ by a unit"),
    "ms in a column of seconds": ((OLD, [dict(r, **{"TTFT (s)": 140.0}) for r in OLD_ROWS]), "differ by a unit"),
    "an average above the maximum": ((dict(NEW, **{"Avg TTFT (ms)": -5}), ROWS), "ttft avg"),
    "no success": ((dict(NEW, **{"Success Requests": 0, "Failed Requests": 20}), ROWS), "no request was answered"),
    "some requests failed": ((dict(NEW, **{"Success Requests": 18, "Failed Requests": 2}), ROWS), "2 of 20"),
    "more successes than requests": ((dict(NEW, **{"Success Requests": 30}), ROWS), "30 requests succeeded of 20"),
    "not streamed": ((dict(NEW, **{"Stream Requests": 0}), ROWS), "ttft_ms"),
    "a list instead of a summary": (([1], ROWS), "success"),
}


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_a_tools_bad_result_is_said(name, tmp_path):
    (summary, percentiles), told = RESULTS[name]
    assert told in said_of(lambda: read_results(evalscope(tmp_path / "r", summary, percentiles)))


# One file of a tool, as bytes.
FILES = {
    "half a file": (json.dumps(VLLM).encode()[:400], "not whole JSON"),
    "an empty file": (b"", "not whole JSON"),
    "bytes that are no text": (b"\xff\xfe\x00\x01", "not whole JSON"),
    "a file of another program": (b'{"results": {"gsm8k": 0.9}}', "no result"),
    "nesting without end": (b"[" * 200_000, "not whole JSON"),
    "NaN for a throughput": (json.dumps({**VLLM, "request_throughput": float("nan")}).encode(), "request_throughput"),
    "zeros for nothing": (json.dumps({**VLLM, "completed": 0, "mean_ttft_ms": 0}).encode(), "no request was answered"),
    "a warm-up nobody wrote down": (json.dumps(VLLM).encode(), "warmed up is unknown"),
    "an unknown unit": (json.dumps({**aiperf(), "time_to_first_token": {"unit": "ticks", "p99": 1}}).encode(), "ticks"),
    "a cancelled run": (json.dumps({**aiperf(), "was_cancelled": True}).encode(), "cancelled"),
    "tokens counted otherwise": (
        json.dumps(
            {**aiperf(), "total_osl": {"avg": 262.0}, "total_usage_completion_tokens": {"avg": 200.0}}
        ).encode(),
        "it counted 262",
    ),
    "requests cut off": (
        json.dumps(
            {"benchmarks": [{"metrics": {"request_totals": {"total": 9, "successful": 7, "incomplete": 2}}}]}
        ).encode(),
        "2 requests were cut off",
    ),
    "requests that were lost": (
        json.dumps({"benchmarks": [{**GUIDE["benchmarks"][0], "scheduler_state": {"created_requests": 21}}]}).encode(),
        "21 requests were made",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_bad_file_is_said(name, tmp_path):
    data, told = FILES[name]
    (tmp_path / "r.json").write_bytes(data)
    assert told in said_of(lambda: read_results(tmp_path / "r.json"))


# Records of requests as the generator might have made them, and the doubt.
RUNS = {
    "the clock jumped back": ([record(end_s=0.5)], {}, "clock jumped"),
    "a first token before it was sent": ([record(first_s=0.9, chunks_s=(0.9, 1.05))], {}, "clock jumped"),
    "shorter answers than asked for": ([record(output_tokens=1)], {}, "another length"),
    "a request that was cut": ([record(), record(1, how="cut", error="gone")], {}, "1 of 2 requests failed"),
    "a warm-up that failed": ([record(warmup=True, how="cut"), record()], {}, "warm-up failed"),
    "no warm-up": ([record()], {}, "no warm-up"),
    "a generator that was late": ([record()], {"late_p99_s": 0.02}, "bottleneck"),
    "a generator without a core to spare": ([record()], {"cpu_share": 0.99}, "bottleneck"),
    "a server without usage": ([record(output_tokens=None)], {}, "the server gave no usage"),
    "all of an answer at one moment": ([record(chunks_s=(1.01, 1.01))], {}, "more than one piece"),
    "a run that was stopped": ([record()], {"partial": "stopped by SIGINT"}, "stopped by SIGINT"),
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_run_that_carries_no_claim_says_so(name):
    records, more, told = RUNS[name]
    run = LoadRun(records=tuple(records), planned=len(records), duration_s=1.0, **{"partial": "", **more})
    seen = measure(run, concurrency=1, rate=0.0, stream=True, exact_length=True, speculative=None)
    assert told in " ".join((*seen.doubts, *seen.unknown.values(), seen.partial))


# Lines of a workload's TOML that are put in, and the word of the refusal.
WORKLOADS = {
    "an unknown key": ("[sampling]\ntemprature = 0", "temprature"),
    "a rate and a concurrency": ("rate = 3.0", "not both"),
    "a rate without end": ("rate = inf", "finite"),
    "a rate that is no number": ("rate = nan", "finite"),
    "a time-out of nothing": ("timeout_s = 0", "above 0"),
    "text for a number": ('seed = "a"', "seed"),
    "another schema": (None, "schema_version is 2"),
    "half a file": ("[sampling", "not valid TOML"),
    "no stream and a TTFT": ("[sampling]\nstream = false", "SLA"),
    "a prefix longer than the prompt": (..., "prefix_tokens"),
}


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_bad_workload_is_refused(name, tmp_path):
    line, told = WORKLOADS[name]
    text = WORKLOAD
    if line is None:
        text = text.replace("schema_version = 1", "schema_version = 2")
    elif line is ...:
        text = text.replace("input_tokens = 8", "input_tokens = 8\nprefix_tokens = 8")
    elif line.startswith("["):
        text += line
    else:
        text = text.replace("warmup = 4", f"warmup = 4\n{line}")
    (tmp_path / "w.toml").write_text(text)
    assert told in said_of(lambda: read_workload(tmp_path / "w.toml"))


# Lines of a dataset, of which four are needed.
LINES = {
    "a line that is no JSON": ('{"prompt": "a", "output_len": 3}\n{"prompt', "line 2: not JSON"),
    "a line without a length": ('{"prompt": "a"}', "output_len is None"),
    "a length of nothing": ('{"prompt": "a", "output_len": 0}', "output_len is 0"),
    "a length that is a truth": ('{"prompt": "a", "output_len": true}', "output_len is True"),
    "a line without a prompt": ('{"output_len": 3}', "no prompt"),
    "mixed kinds in one prompt": ('{"prompt": [1, "a"], "output_len": 3}', "no prompt"),
    "fewer lines than requests": ('{"prompt": "a", "output_len": 3}', "holds 1"),
    "no line at all": ("\n\n", "holds no request"),
}


@pytest.mark.parametrize("name", sorted(LINES))
def test_a_bad_dataset_is_refused(name, tmp_path):
    text, told = LINES[name]
    (tmp_path / "d.jsonl").write_text(text)
    made = workload(requests=3, warmup=1, kind="jsonl", file=str(tmp_path / "d.jsonl"), input_tokens=0, output_tokens=0)
    assert told in said_of(lambda: make_plan(made, "m"))


def test_a_records_file_cut_by_a_kill_is_read_up_to_its_last_line_and_says_so(tmp_path):
    from seatrial.core.record import to_json

    file = tmp_path / "requests.jsonl"
    file.write_bytes(to_json(record()) + b"\n" + to_json(record(1))[:40])
    kept = read_requests(file)
    assert (len(kept.records), kept.torn) == (1, True)
    file.write_bytes(b'{"index": 0}\n')
    assert "line 1" in said_of(lambda: read_requests(file))


def test_a_space_with_more_configurations_than_anybody_could_try_is_refused(tmp_path):
    values = ", ".join(str(n) for n in range(400))
    (tmp_path / "s.toml").write_text(
        f'schema_version = 1\nframework = "vllm"\n[flags]\na = [{values}]\nb = [{values}]\n'
    )
    assert "160,000 configurations" in said_of(lambda: candidates(read_space(tmp_path / "s.toml")))


def test_the_seeded_faults_are_more_than_forty():
    seeded = (UNFAIR, UNFIT, RESULTS, FILES, RUNS, WORKLOADS, LINES)
    assert [len(table) for table in seeded] == [36, 5, 15, 13, 11, 10, 8]
    assert sum(len(table) for table in seeded) == 98


def said_of(act):
    """What is said of the input: the refusal with its mend, or every unknown, doubt and absent statistic."""
    try:
        found = act()
    except SeatrialError as exc:
        return exc.one_line()
    words = []
    for one in found:
        seen = one.metrics
        words += [*seen.unknown, *seen.unknown.values(), *seen.doubts, seen.partial]
        for name in ("ttft", "tpot"):
            spread = getattr(seen, f"{name}_ms")
            words += [f"{name} {s}" for s in ("avg", "p99") if spread is None or getattr(spread, s) is None]
    return " ".join(words)


def test_a_good_result_has_nothing_said_of_it(tmp_path):
    # Else the tables above would prove nothing.
    assert said_of(lambda: read_results(evalscope(tmp_path / "r", NEW, ROWS))).strip() == ""
    assert replace(metrics(), doubts=()).doubts == ()
