"""Candidates in tiers, the highest load under a service level, ranking, and the frameworks' adapters."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest
from tests.measure.made import bench_run
from tests.measure.test_bench_command import ENV, document, seatrial, verified

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import replace
from seatrial.core.verdict import Verdict, failed, inconclusive, not_applicable, passed
from seatrial.evidence import Run, open_workspace, verify_run
from seatrial.measure.load.counters import speculative
from seatrial.measure.load.service import attached
from seatrial.measure.search import (
    FRAMEWORKS,
    Candidate,
    Space,
    candidates,
    highest,
    launch,
    pareto,
    rank,
    read_space,
    words,
)
from seatrial.measure.search.framework import Launching
from seatrial.measure.search.rank import outcome_of
from seatrial.workflow.bench import bench_runs

SPACE = Space(
    schema_version=1,
    framework="vllm",
    base={"max-num-seqs": 4},
    flags={"max-num-seqs": (1, 2, 4, 8), "enforce-eager": (True, False), "block-size": (16, 32, 64)},
    env={"X": ("a", "b")},
)


@pytest.mark.parametrize(("tier", "most"), [(1, 3), (2, 10), (3, 30)])
def test_a_tier_is_a_number_of_different_candidates_with_the_base_first(tier, most):
    found = candidates(replace(SPACE, tier=tier))
    assert len(found) == most
    assert found[0].flags == {"max-num-seqs": 4}
    assert len({(tuple(c.flags.items()), tuple(c.env.items())) for c in found}) == most
    # A small tier is no corner of the space.
    assert {c.flags["max-num-seqs"] for c in found} >= {1, 8}


def test_flags_become_arguments():
    made = Candidate(name="x", flags={"a": True, "b": False, "c": 3}, env={})
    assert made.args() == ("--a", "--c", "3")


@pytest.mark.parametrize(
    "text",
    [
        "framework = 'abacus'",
        "flags = {x = []}",
        "flags = {x = [1, 1]}",
        "tier = 4",
        "unknown = 1",
        "schema_version = 2",
    ],
)
def test_a_bad_space_is_refused(tmp_path, text):
    file = tmp_path / "s.toml"
    head = "" if "schema_version" in text else "schema_version = 1\n"
    kind = "" if "framework" in text else "framework = 'vllm'\n"
    file.write_text(head + kind + text)
    with pytest.raises(FileFormatError):
        read_space(file)


def service(limit):
    seen = []

    def once(level):
        seen.append(level)
        return passed() if level <= limit else failed("too slow")

    return once, seen


def test_bisection_finds_the_last_level_that_holds():
    once, seen = service(37)
    found = highest(once, low=1, high=128, whole=True, repeats=3)
    assert (found.holds_at, found.breaks_at) == (37, 38)
    # Two of three decide a level.
    assert len(seen) == 2 * len(found.tries)
    rate = highest(service(9.3)[0], low=1, high=64, whole=False, repeats=1)
    assert rate.holds_at <= 9.3 < rate.breaks_at
    assert rate.breaks_at / rate.holds_at < 1.06


def test_the_ends_of_a_search_are_said():
    assert highest(service(0.5)[0], low=1, high=8, whole=True).holds_at is None
    found = highest(service(99)[0], low=1, high=8, whole=True)
    assert (found.holds_at, found.breaks_at) == (8, None)
    unknown = highest(lambda level: inconclusive("no percentile"), low=1, high=8, whole=True)
    assert unknown.holds_at is None
    assert unknown.reason
    with pytest.raises(UsageError):
        highest(service(1)[0], low=8, high=1, whole=True)


def test_a_level_that_wavers_goes_by_the_majority():
    answers = {1: [passed()] * 3, 4: [failed("x")] * 3, 2: [passed(), failed("x"), passed()], 3: [failed("x")] * 3}
    found = highest(lambda level: answers[int(level)].pop(0), low=1, high=4, whole=True)
    assert (found.holds_at, found.breaks_at) == (2, 3)


def test_ranking_puts_the_service_level_first_and_the_failed_last():
    fast = replace(bench_run(200.0), sla=failed("ttft"))
    slow, middle = bench_run(100.0), bench_run(150.0)
    found = rank([("fast", fast, ""), ("slow", slow, ""), ("dead", None, "out of memory"), ("middle", middle, "")])
    assert [e.name for e in found] == ["middle", "slow", "fast", "dead"]
    assert [e.place for e in found] == [1, 2, 3, None]
    assert found[-1].failed == "out of memory"


def test_different_loads_are_never_ranked_together():
    with pytest.raises(UsageError, match="cannot be ranked"):
        rank([("a", bench_run(1.0), ""), ("b", bench_run(2.0, workload__concurrency=8), "")])


def test_the_front_holds_what_nobody_beats_in_both():
    def at(value, latency):
        run = bench_run(value)
        return replace(run, metrics=replace(run.metrics, e2e_ms=replace(run.metrics.e2e_ms, p50=latency)))

    runs = [("quick", at(10, 5.0)), ("much", at(100, 50.0)), ("beaten", at(9, 60.0)), ("between", at(50, 20.0))]
    assert pareto(runs) == {"quick", "much", "between"}


@pytest.mark.parametrize("name", ["vllm", "sglang", "xllm"])
def test_an_adapter_fits_a_server_that_speaks_its_endpoints(stand_in, name):
    framework = FRAMEWORKS.get(name)
    url, _ = stand_in("--kind", name)
    assert urllib.request.urlopen(url + framework.ready).status == 200
    assert attached(url, None).model == "stand-in"
    before = attached(url, None).text(framework.counters[0])
    assert before
    body = json.dumps({"prompt": [1, 2], "max_tokens": 3}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/v1/completions", data=body, method="POST")).read()
    found = speculative(before, attached(url, None).text(framework.counters[0]))
    if name == "sglang":
        # It has a gauge of accepted length only: no true rate is made of that.
        assert (found.accept_rate, found.tokens_per_iteration) == (None, 2.5)
    else:
        assert found.accept_rate == pytest.approx(2 / 3)


def test_each_framework_has_its_own_command_line():
    to = Launching(program="/x/python", checkpoint="/m", model="m", host="127.0.0.1", port=80)
    made = Candidate(name="x", flags={"block-size": 16, "enable-graph": True}, env={})
    line = {name: launch(FRAMEWORKS.get(name), to, words(FRAMEWORKS.get(name), made)).argv for name in FRAMEWORKS}
    vllm = line["vllm"]
    assert vllm[:3] == ("/x/vllm", "serve", "/m")
    assert vllm[-3:] == ("--block-size", "16", "--enable-graph")
    sglang = line["sglang"]
    assert sglang[:5] == ("/x/python", "-m", "sglang.launch_server", "--model-path", "/m")
    assert "--enable-metrics" in sglang
    xllm = line["xllm"]
    assert "--block_size=16" in xllm
    assert "--enable_graph=true" in xllm


def test_a_fatal_line_is_known_by_its_framework():
    glog = "I20260101 12:00:00 x.cpp:1] fine\nF20260101 12:00:01.000 42 worker.cpp:7] Check failed: ok\n"
    assert "worker.cpp:7" in FRAMEWORKS.get("xllm").first_fatal(glog)
    assert FRAMEWORKS.get("sglang").first_fatal("[INFO] fine\n") == ""
    assert "MemoryError" in FRAMEWORKS.get("vllm").first_fatal("x\nMemoryError: no room\n")


def test_a_search_measures_ranks_keeps_the_failed_and_goes_on_where_it_was(bench_place):
    # 40 requests of 100 ms, one at a time 4 s and sixteen at a time 0.3: no stall of a second turns that around.
    place = bench_place(ttft=0.1)
    load = (place / "w.toml").read_text()
    (place / "w.toml").write_text(load.replace("concurrency = 4", "concurrency = 16"))
    text = 'schema_version = 1\nframework = "vllm"\ntier = 1\n[flags]\nmax-num-seqs = [1, 16]\n'
    (place / "space.toml").write_text(text)
    words = ["bench", "search", "--workload", "w.toml", "--space", "space.toml", "--checkpoint", "model"]
    done = document(seatrial(place, *words, "--target", "stand-in", "--json", check=0))
    assert len(done["entries"]) == 3
    assert done["entries"][-1]["name"] == "max-num-seqs=1"
    assert any(e["on_front"] for e in done["entries"])
    again = document(seatrial(place, *words, "--target", "stand-in", "--resume", done["run_id"], "--json", check=0))
    assert again["skipped"] == 3
    found = verified(place)
    assert {kind: run["verdict"] for kind, run in found.items()} == {"search": "pass", "bench": "pass"}
    file = place / "seatrial.toml"
    before = file.read_text()
    file.write_text(before.replace("request_s = ", "request_s = 1"))
    seatrial(place, *words, "--target", "stand-in", "--resume", done["run_id"], check=0)
    file.write_text(before + "[targets.stand-in.serve.args]\nblock-size = 32\n")
    told = seatrial(place, *words, "--target", "stand-in", "--resume", done["run_id"], check=2)
    assert "another target" in told.stderr


def test_the_highest_concurrency_under_a_service_level_is_found_on_a_service(stand_in, bench_place):
    place = bench_place()
    # A sixth at once is turned away, and a request that fails breaks any level: no clock decides what holds.
    url, _ = stand_in("--ttft", "0.1", "--fault", "full-above=5")
    text = (place / "w.toml").read_text().replace("requests = 40", "requests = 16")
    (place / "w.toml").write_text(text)
    words = ["bench", "highest", "--workload", "w.toml", "--service", url, "--high", "16", "--repeats", "1", "--json"]
    done = document(seatrial(place, *words, check=0))
    assert (done["highest"]["holds_at"], done["highest"]["breaks_at"]) == (5, 6)
    workspace = open_workspace(place, write=False)
    ledger = Run.read(workspace.run_folder(done["run_id"]))
    kept = [e.body for e in ledger.log.entries if e.kind == "trial"]
    assert [t["level"] for t in kept] == [t["level"] for t in done["highest"]["tries"]]
    for trial in kept:
        (measured,) = bench_runs(Run.read(workspace.run_folder(trial["run"])))
        assert measured.metrics.concurrency == trial["level"]
        assert measured.sla.verdict.value == trial["outcome"]["verdict"]
    assert ledger.last("finished").body["verdict"] == "pass"
    # Nothing is measured again, and the answer is the same.
    before = len(workspace.run_folders())
    again = document(seatrial(place, *words, "--resume", done["run_id"], check=0))
    assert (again["highest"], again["reused"]) == (done["highest"], len(kept))
    assert (verified(place)["highest"]["verdict"], verified(place)["highest"]["findings"]) == ("pass", [])
    assert len(workspace.run_folders()) == before
    other = seatrial(place, *words, "--resume", done["run_id"], "--repeats", "2", check=2)
    assert "is another highest" in other.stderr


def test_a_search_for_the_highest_load_that_was_stopped_goes_on_where_it_was(stand_in, bench_place):
    place = bench_place()
    # Two trials have 20 requests each; in the third it falls silent, so that the third cannot end before it is stopped.
    url, _ = stand_in("--ttft", "0.1", "--fault", "full-above=5,silent-after=50")
    text = (place / "w.toml").read_text().replace("requests = 40", "requests = 16")
    (place / "w.toml").write_text(text)
    words = ["bench", "highest", "--workload", "w.toml", "--service", url, "--high", "16", "--repeats", "1", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "seatrial", *words], cwd=place, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # Two trials, and the third under way.
    seen = 0
    for line in process.stderr:
        seen += b"sending" in line
        if seen == 3:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    urllib.request.urlopen(f"{url}/speak").close()
    assert process.returncode == 128 + signal.SIGINT
    workspace = open_workspace(place, write=False)
    (name,) = [f.name for f in workspace.run_folders() if "highest" in f.name]
    ledger = Run.read(workspace.run_folder(name))
    kinds = [e.kind for e in ledger.log.entries if e.kind != "started"]
    kept = kinds.count("trial")
    assert kinds == ["trial"] * kept + ["interrupted"]
    assert kept == 2
    done = document(seatrial(place, *words, "--resume", name, check=0))
    assert done["reused"] == kept
    assert done["highest"]["holds_at"] == 5
    assert verify_run(workspace.run_folder(name)).verdict.value == "pass"


def test_what_is_no_measure_gets_no_place():
    profiled = bench_run(900.0, label="p", profiler_attached=True)
    silent = bench_run(800.0, label="s", figures={"success": 0, "failed": 20})
    partial = bench_run(700.0, label="h", figures={"is_complete": False, "partial": "stopped"})
    entries = rank([("p", profiled, ""), ("s", silent, ""), ("h", partial, ""), ("ok", bench_run(1.0), "")])
    assert [(e.name, e.place) for e in entries] == [("ok", 1), ("p", None), ("s", None), ("h", None)]
    assert [e.failed for e in entries[1:]] == ["a profiler was attached", "no request was answered", "partial: stopped"]


@pytest.mark.parametrize("name", ["model", "devices", "engine__version", "tokenizer"])
def test_a_search_that_was_resumed_with_something_else_is_not_ranked(name):
    with pytest.raises(UsageError, match=name.replace("__", ".")):
        rank([("a", bench_run(1.0), ""), ("b", bench_run(2.0, **{name: "other"}), "")])


def test_a_search_passes_only_where_the_best_holds_its_service_level():
    def verdict(sla):
        return outcome_of(rank([("a", replace(bench_run(), sla=sla), "")])).verdict

    assert verdict(passed()) is Verdict.PASS
    assert verdict(not_applicable("none")) is Verdict.PASS
    assert verdict(failed("too slow")) is Verdict.FAIL
    assert verdict(inconclusive("no percentile")) is Verdict.INCONCLUSIVE
    assert outcome_of(rank([("a", None, "did not start")])).verdict is Verdict.FAIL
