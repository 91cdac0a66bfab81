"""`seatrial bench`, `loop` and `replay` as a user has them, with the stand-in as the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from seatrial.evidence import Run, open_workspace, verify_run
from seatrial.gates.server import TOKEN
from seatrial.workflow.bench import bench_runs

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT}/src"}
# A run is formal only where the generator was not late, which no test can ask of a machine that others use: here it may
# be. What lateness does to a run is tested on records made by hand (test_unfair.py).
PATIENT = "import sys, seatrial.measure.load.metrics as m; m.LATE_S = 600.0; sys.argv[0] = 'seatrial'; "
PATIENT += "from seatrial.cli.main import entry; entry()"


def seatrial(place, *words, check=None, env=None):
    done = subprocess.run(
        [sys.executable, "-c", PATIENT, *words],
        cwd=place,
        env={**ENV, **(env or {})},
        capture_output=True,
        text=True,
        timeout=500,
    )
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def document(done):
    return json.loads(done.stdout)


def verified(place):
    """Every run of the workspace derived again by `seatrial verify`: kind to what was found of it, without errors."""
    report = document(seatrial(place, "verify", ".", "--json"))
    wrong = [f for run in report["runs"] for f in run["findings"] if f["severity"] == "error"]
    assert wrong == []
    assert all(one["derived"] for run in report["runs"] for one in run["checked"])
    return {run["kind"]: run for run in report["runs"]}


AB = ["bench", "ab", "--workload", "w.toml", "--checkpoint", "model", "--target", "stand-in", "--json"]
FLAG = ["--a-arg=--max-num-seqs=1", "--b-arg=--max-num-seqs=16", "--under-test", "flag.max-num-seqs"]


def processes_left(place):
    found = []
    for process in psutil.process_iter():
        try:
            if TOKEN in process.environ() and process.cwd().startswith(str(place)):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def test_the_whole_loop_from_baseline_to_report(bench_place):
    # 200 requests of 20 ms, one at a time 4 s and sixteen at a time 0.26: no stall of a second turns that around, and
    # both are long enough to be looked at twice while they run.
    place = bench_place(ttft=0.02)
    text = (place / "w.toml").read_text().replace("requests = 40", "requests = 200")
    (place / "w.toml").write_text(text.replace("concurrency = 4\nwarmup = 4", "concurrency = 16\nwarmup = 16"))
    start = ["--goal", "more requests", "--model", "model", "--sla", "ttft p99 <= 300000 ms", "--reference", "1"]
    seatrial(place, "loop", "start", *start, "--reference-source", "the test", check=0)
    done = seatrial(place, *AB, *FLAG, "--serve", "together", check=0)
    ended = document(done)
    judged = ended["judged"]
    assert judged["answer"] == "pass"
    assert judged["winner"] == "change"
    assert judged["figures"]["request_throughput"]["p"] == pytest.approx(2 / 70)
    assert judged["figures"]["request_throughput"]["change"] > 0.5
    assert [r["level"] for r in ended["runs"]] == ["formal"] * 8
    run = ended["run_id"]
    steps = [
        ["baseline", f"{run}:baseline"],
        ["evidence", f"{run}/bench-baseline-1", "--hypothesis", "one request at a time"],
        ["patch", "--change", "max-num-seqs: 1 -> 16", "--hypothesis", "h", "--expected", "2x", "--risks", "memory"],
        ["accuracy", run],
        ["performance", run],
        ["lesson", "sixteen at once is better", "--kept"],
    ]
    for step in steps:
        seatrial(place, "loop", "record", *step, check=0)
    state = document(seatrial(place, "loop", "status", "--json", check=0))
    assert state["state"]["rounds"][0]["performance"]["sla_holds"] is True
    assert {r["rule"] for r in state["rules"] if r["holds"]} == {"win"}
    seatrial(place, "loop", "stop", "--rule", "win", "--reason", "past the reference", check=0)
    seatrial(place, "report", run, check=0)
    words = [f"{run}:baseline", f"{run}:change", "--under-test", "flag.max-num-seqs", "--out", "reports"]
    seatrial(place, "bench", "compare", *words, check=0)
    english, chinese = ((place / f"reports/report-c16-{x}.md").read_text() for x in ("en", "zh"))
    assert "Request throughput" in english
    assert "请求吞吐" in chinese
    assert "<svg" in (place / "reports/trend-request_throughput-en.svg").read_text()
    seatrial(place, "bench", "report", run, "--out", "again", check=0)
    names = {f.name for f in (place / "again").iterdir()}
    assert names == {f.name for f in (place / "reports").iterdir()}
    assert (place / "again/report-c16-zh.md").read_text() == chinese
    page = (place / ".seatrial/runs" / run / "report.html").read_text()
    assert page.index('id="step-verdict"') < page.index('id="step-bench-baseline-1"')
    for told in ("change against baseline, 4 and 4 runs in turn", "Latencies", "declared as under test", "formal"):
        assert told in page, told
    assert "○ not run" not in page
    assert ">not run<" not in page
    loop = document(seatrial(place, "loop", "status", "--json", check=0))["loop"]
    seatrial(place, "report", loop, check=0)
    page = (place / ".seatrial/runs" / loop / "report.html").read_text()
    for told in ("max-num-seqs: 1 -&gt; 16", "L1 passed", "sixteen at once is better", "past the reference", run):
        assert told in page, told
    assert "○ not run" not in page
    assert ">not run<" not in page
    workspace = open_workspace(place, write=False)
    assert all(verify_run(folder).verdict.value == "pass" for folder in workspace.run_folders())
    found = verified(place)
    assert (found["bench"]["verdict"], found["bench"]["derived"], found["bench"]["findings"]) == ("pass", 11, [])
    assert (found["loop"]["verdict"], found["loop"]["findings"]) == ("pass", [])
    assert processes_left(place) == []


def test_replay_says_what_differs_and_compares(bench_place):
    # One at a time, 320 ms, is long enough for a look around the load; a shorter run is no formal one.
    place = bench_place(ttft=0.008)
    words = ["bench", "run", "--workload", "w.toml", "--checkpoint", "model", "--target", "stand-in", "--runs", "4"]
    words += ["--arg=--max-num-seqs=1"]
    seatrial(place, *words, "--serve", "together", check=0)
    plan = document(seatrial(place, "replay", "last", "--plan", "--json", check=0))
    assert plan["drifts"] == []
    assert "--max-num-seqs" in " ".join(plan["commands"][0]["argv"])
    again = document(seatrial(place, "replay", "last", "--json"))
    assert again["agreement"] in ("agrees", "differs"), again["reason"]
    assert again["sides"]["A"]["figures"]["request_throughput"]["n_b"] == 4
    assert not list((place / ".seatrial" / "scratch").glob("*-bench-*")), "what is kept is in the runs"
    (place / "model" / "tokenizer.json").write_text("[]")
    plan = document(seatrial(place, "replay", "last", "--plan", "--json", check=3))
    assert [d["what"] for d in plan["drifts"] if d["grave"]] == ["model", "tokenizer"]


def test_accuracy_comes_before_performance(bench_place):
    place = bench_place("garbage")
    done = seatrial(place, *AB, *FLAG, "--serve", "together", check=1)
    assert "accuracy before performance" in document(done)["reason"]
    assert document(done)["runs"] == []


def test_a_server_that_dies_in_the_run_leaves_a_partial_run_that_is_never_compared(bench_place):
    place = bench_place("die-after=20")
    done = seatrial(place, *AB, *FLAG, "--serve", "restart", check=3)
    (run,) = document(done)["runs"]
    assert run["metrics"]["is_complete"] is False
    assert 0 < run["metrics"]["success"] < 40
    assert "died" in run["metrics"]["partial"] or "gone" in run["metrics"]["partial"]
    kept = bench_runs(Run.read(open_workspace(place, write=False).run_folder("last")))
    assert kept[0].level == "debug"
    assert processes_left(place) == []


def test_ctrl_c_keeps_the_part_and_stops_the_servers(bench_place):
    place = bench_place()
    (place / "w.toml").write_text((place / "w.toml").read_text().replace("requests = 40", "requests = 100000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "seatrial", *AB, *FLAG, "--serve", "restart"],
        cwd=place,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert any(b"sending" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    run = Run.read(open_workspace(place, write=False).run_folder("last"))
    assert run.log.entries[-1].kind == "interrupted"
    (kept,) = bench_runs(run)
    assert kept.metrics.partial == "stopped by SIGINT"
    assert "did not finish" in verified(place)["bench"]["findings"][-1]["message"]
    assert processes_left(place) == []


def test_a_run_against_a_service_nobody_prepared_is_debug(stand_in, bench_place):
    place = bench_place()
    url, _ = stand_in()
    done = seatrial(place, "bench", "run", "--service", url, "--workload", "w.toml", "--json", check=0)
    (run,) = document(done)["runs"]
    assert run["level"] == "debug"
    assert "nobody looked before the service started" in run["doubts"]
    # The stand-in has counters of speculative decoding: two of three drafts are taken.
    assert run["metrics"]["speculative"]["accept_rate"] == pytest.approx(2 / 3)
    told = {f["message"] for f in verified(place)["bench"]["findings"]}
    assert told == {f"the service at {url} was not started by seatrial: its setup is declared"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bench", "run", "--workload", "none.toml", "--service", "http://127.0.0.1:9"], "none.toml"),
        (["bench", "run", "--workload", "w.toml"], "name what to measure"),
        (
            ["bench", "run", "--workload", "w.toml", "--checkpoint", "nowhere", "--target", "stand-in"],
            "is not a folder",
        ),
        (["bench", "run", "--workload", "w.toml", "--service", "http://127.0.0.1:9"], "lists no model"),
        (
            ["bench", "run", "--workload", "w.toml", "--service", "http://127.0.0.1:9", "--arg=-x"],
            "a server that is st",
        ),
        (["bench", "run", "--workload", "w.toml", "--service", "http://127.0.0.1:9", "--env", "A=1"], "started here"),
        (["bench", "run", "--workload", "w.toml", "--service", "gopher://x"], "no http"),
        (["bench", "compare", "a", "b"], "there is no run"),
        (["bench", "read", "nowhere"], "is not there"),
        (["replay", "nowhere"], "there is no run"),
        (["loop", "status"], "there is no loop"),
        (["history", "show", "x"], "is no card"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_mend(bench_place, words, told):
    done = seatrial(bench_place(), *words)
    assert done.returncode in (2, 4)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
