"""Replay of runs that are no bench: the highest load, a search; what cannot be done again is said."""

from __future__ import annotations

import json

from tests.measure.test_bench_command import document, seatrial


def test_the_highest_load_is_searched_again_and_held_against_the_old_answer(stand_in, bench_place):
    place = bench_place()
    url, _ = stand_in()
    line = ["bench", "highest", "--service", url, "--workload", "w.toml", "--high", "2", "--repeats", "1", "--json"]
    first = document(seatrial(place, *line, check=0))
    plan = document(seatrial(place, "replay", first["run_id"], "--plan", "--json", check=0))
    assert plan["job"] is None
    assert plan["commands"][0]["argv"][2:6] == ["seatrial", "bench", "highest", "--service"]
    again = document(seatrial(place, "replay", first["run_id"], "--json", check=0))
    assert (again["agreement"], again["redone"]["turns"][0]["step"]) == ("agrees", "highest")
    assert again["redone"]["run_id"] not in ("", first["run_id"])
    told = seatrial(place, "replay", first["run_id"], check=0).stdout
    assert "holds at concurrency 2" in told


def test_a_level_that_breaks_now_is_told_apart_from_then(stand_in, bench_place):
    place = bench_place()
    url, _ = stand_in()
    line = ["bench", "highest", "--service", url, "--workload", "w.toml", "--high", "2", "--repeats", "1", "--json"]
    first = document(seatrial(place, *line, check=0))
    text = (place / "w.toml").read_text()
    (place / "w.toml").write_text(text.replace("limit_ms = 300000", "limit_ms = 0.000001"))
    again = document(seatrial(place, "replay", first["run_id"], "--json", check=1))
    assert again["agreement"] == "differs"
    assert "pass then, fail now" in again["reason"]


def test_a_search_is_done_again_candidate_by_candidate(bench_place):
    place = bench_place()
    text = 'schema_version = 1\nframework = "vllm"\ntier = 1\n[flags]\nmax-num-seqs = [8]\n'
    (place / "space.toml").write_text(text)
    line = ["bench", "search", "--workload", "w.toml", "--space", "space.toml", "--checkpoint", "model"]
    run = document(seatrial(place, *line, "--target", "stand-in", "--json", check=0))["run_id"]
    again = document(seatrial(place, "replay", run, "--json", check=0))
    assert [t["step"] for t in again["redone"]["turns"]] == ["base", "max-num-seqs=8"]
    (place / "model" / "config.json").write_text(json.dumps({"model_type": "other"}))
    plan = document(seatrial(place, "replay", run, "--plan", "--json", check=3))
    assert [d["what"] for d in plan["drifts"]] == ["model"]


def test_what_cannot_be_done_again_says_why(stand_in, bench_place):
    place = bench_place()
    goal = ["--goal", "g", "--model", "model", "--target", "stand-in", "--json"]
    loop = document(seatrial(place, "loop", "start", *goal, check=0))["loop"]
    done = seatrial(place, "replay", loop, check=2)
    assert "a loop's ledger" in done.stderr
    url, _ = stand_in()
    line = ["bench", "highest", "--service", url, "--workload", "w.toml", "--high", "2", "--repeats", "1", "--json"]
    run = document(seatrial(place, *line, check=0))["run_id"]
    (place / "w.toml").unlink()
    again = document(seatrial(place, "replay", run, "--json", check=3))
    assert (again["agreement"], again["redone"]["run_id"]) == ("unknown", "")
    assert "began no run of its kind" in again["reason"]
