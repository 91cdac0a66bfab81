"""SGLang and xLLM behind the commands of vLLM: stand-ins that speak their endpoints are started, measured, ended."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.measure.test_bench_command import document, seatrial

SERVER = Path(__file__).parent / "fast_server.py"
# As glog and SGLang's logger write a start that fails.
FATAL = {
    "sglang": "[2026-11-21 06:00:00 TP0] Scheduler hit an exception: Traceback (most recent call last):",
    "xllm": "F20261121 06:00:00.000001 42 xllm.cpp:280] Model path /m does not exist.",
}


@pytest.fixture
def programs(bench_place):
    """A place, and by framework the words that name its program: a module named sglang, a binary named xllm."""
    place = bench_place()
    text = SERVER.read_text()

    def make(name: str, before: str = "") -> list[str]:
        code = f'import sys\n{before}\nsys.argv += ["--kind", "{name}"]\n' + text
        if name == "sglang":
            package = place / "path" / "sglang"
            package.mkdir(parents=True)
            (package / "__init__.py").write_text("")
            (package / "launch_server.py").write_text(code)
            program = place / "python"
            program.symlink_to(sys.executable)
            return ["--framework", name, "--program", str(program), "--env", f"PYTHONPATH={place / 'path'}"]
        program = place / "xllm"
        program.write_text(f"#!{sys.executable} -S\n" + code)
        program.chmod(0o755)
        return ["--framework", name, "--program", str(program)]

    return place, make


@pytest.mark.parametrize("name", ["sglang", "xllm"])
def test_a_framework_is_started_measured_and_ended(programs, name):
    place, make = programs
    line = ["bench", "run", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml", "--json"]
    words = make(name)
    ended = document(seatrial(place, *line, *words, check=0))
    (run,) = ended["runs"]
    facts, metrics = run["setup"]["facts"], run["metrics"]
    assert (metrics["success"], metrics["server"]["requests"]) == (40, 40)
    assert facts["engine"] == name
    if name == "sglang":
        assert facts["engine.version"] == "0.5.4"
        assert metrics["server"]["ttft_ms"] > 0
        # A gauge is no true rate: it is shown as what it is.
        assert metrics["speculative"]["accept_rate"] is None
        assert metrics["speculative"]["tokens_per_iteration"] == 2.5
        assert "gauge" in metrics["speculative"]["note"]
    else:
        assert facts["engine.version"].startswith("program ")
        assert metrics["server"]["ttft_ms"] is None
        assert metrics["speculative"]["accept_rate"] == pytest.approx(2 / 3)
    plan = document(seatrial(place, "replay", ended["run_id"], "--plan", "--json", check=0))
    assert plan["drifts"] == []
    assert any(word in str(plan["commands"]) for word in ("sglang.launch_server", "--model_id="))
    if name == "xllm":
        Path(words[-1]).write_text("#!/bin/sh\n")
        changed = document(seatrial(place, "replay", ended["run_id"], "--plan", "--json"))
        assert [d["what"] for d in changed["drifts"]] == ["program"]


@pytest.mark.parametrize("name", ["sglang", "xllm"])
def test_a_start_that_fails_is_told_with_the_logs_own_line(programs, name):
    place, make = programs
    words = make(name, f"print('fine', flush=True); print({FATAL[name]!r}, flush=True); sys.exit(1)")
    line = ["bench", "run", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml"]
    done = seatrial(place, *line, *words, check=4)
    assert "ended with exit code 1 before it was ready" in " ".join(done.stderr.split())
    assert FATAL[name][-30:] in " ".join(done.stderr.split())


def test_a_start_that_fails_is_told_without_the_key(programs):
    place, make = programs
    words = make("sglang", f"print({FATAL['sglang']!r} + ' api_key=' + sys.argv[-1], flush=True); sys.exit(1)")
    line = ["bench", "run", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml"]
    done = seatrial(place, *line, *words, "--arg=--api-key", "--arg=bosuns-whistle-7731", check=4)
    assert "hit an exception" in done.stderr
    assert "bosuns-whistle-7731" not in done.stderr
    kept = [f for f in (place / ".seatrial").rglob("*") if f.is_file() and f.suffix != ".log"]
    assert kept
    assert not [f for f in kept if b"bosuns-whistle-7731" in f.read_bytes()]


def test_a_server_that_answers_but_is_not_ready_is_not_measured(programs):
    place, make = programs
    words = make("sglang")
    toml = place / "seatrial.toml"
    text = toml.read_text().replace('STAND_IN = ""', 'STAND_IN = "not-ready"')
    line = ["bench", "run", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml"]
    for limit in (2, 20, 200):  # until it is enough for the stand-in to be there at all
        toml.write_text(text.replace("ready_s = 300", f"ready_s = {limit}"))
        told = " ".join(seatrial(place, *line, *words, check=4).stderr.split())
        if "/health_generate: HTTP 503" in told:
            break
    assert f"was not ready after {limit} s: /health_generate: HTTP 503" in told


def test_a_search_over_flags_of_another_framework(programs):
    place, make = programs
    words = make("xllm")
    text = 'schema_version = 1\nframework = "xllm"\ntier = 1\n[flags]\n'
    (place / "space.toml").write_text(text + "max_seqs_per_batch = [1, 8]\nenable_graph = [true]\n")
    line = ["bench", "search", "--workload", "w.toml", "--space", "space.toml", "--checkpoint", "model"]
    line += ["--target", "stand-in", "--json"]
    refused = seatrial(place, *line, check=2)
    assert "--program" in refused.stderr
    done = document(seatrial(place, *line, *words[2:], check=0))
    names = {e["name"] for e in done["entries"]}
    assert names == {"base", "max_seqs_per_batch=1, enable_graph=True", "max_seqs_per_batch=8, enable_graph=True"}
    found = [f["run"]["setup"]["facts"] for f in done["entries"]]
    assert {f.get("flag.max-seqs-per-batch") for f in found} == {None, "1", "8"}
    assert {f.get("flag.enable-graph") for f in found} == {None, "true"}


def test_a_program_where_the_target_says_it_is_refused(bench_place):
    line = ["bench", "run", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml"]
    place = bench_place()
    assert "need their program" in seatrial(place, *line, "--framework", "xllm", check=2).stderr
    assert "need their program" in seatrial(place, *line, "--program", "x", check=2).stderr
