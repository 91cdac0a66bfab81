"""The commands `gate` and `serve`, run as a user runs them, against the stand-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest


@pytest.fixture
def seatrial(stand_in_target, tmp_path, checkpoint):
    def run(*words: str, fault: str = "", **limits):
        stand_in_target(fault, **limits)
        return subprocess.run(
            [sys.executable, "-m", "seatrial", *words],
            cwd=tmp_path,
            env={**os.environ, "SEATRIAL_STATE": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run


def test_gate_prints_a_line_for_each_stage_and_ends_with_the_verdicts_code(seatrial, checkpoint):
    good = seatrial("gate", str(checkpoint), "--target", "stand-in")
    assert good.returncode == 0, good.stderr
    assert [line.split()[:2] for line in good.stdout.splitlines() if line.startswith("pass")] == [
        ["pass", "dummy"],
        ["pass", "real"],
    ]
    bad = seatrial("gate", str(checkpoint), "--target", "stand-in", "--stage", "real", fault="crash-on-request")
    assert bad.returncode == 1
    assert "false-ready" in bad.stdout
    assert "by hand:" in bad.stdout
    assert "Traceback" not in bad.stderr


def test_gate_as_json_is_one_document_with_the_kept_folder(seatrial, checkpoint, tmp_path):
    done = seatrial(
        "gate", str(checkpoint), "--target", "stand-in", "--stage", "real", "--out", str(tmp_path / "kept"), "--json"
    )
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    assert document["results"][0]["facts"]["ending"] == "ready"
    assert (tmp_path / "kept" / "real" / "server.log").is_file()


@pytest.mark.parametrize("command", [("soak", "--requests", "4"), ("capacity", "--context", "64", "--sequences", "1")])
def test_a_pass_leaves_no_folder_behind_and_anything_else_names_its_own(
    seatrial, checkpoint, command, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    name, *more = command
    words = (name, str(checkpoint), "--target", "stand-in", *more)
    good = seatrial(*words, "--json")
    assert good.returncode == 0, good.stderr
    assert list(tmp_path.glob("seatrial-*")) == []
    assert json.loads(good.stdout).get("folder") is None
    kept = tmp_path / "kept"
    assert str(kept) in seatrial(*words, "--out", str(kept)).stdout.replace("\n", "")
    assert list(kept.iterdir())
    bad = seatrial(*words, fault="die-at-start")
    assert bad.returncode in (1, 3)
    (left,) = tmp_path.glob("seatrial-*")
    assert str(left) in bad.stdout.replace("\n", "")


def test_a_plan_is_printed_and_nothing_is_started(seatrial, checkpoint, alive):
    done = seatrial("gate", str(checkpoint), "--target", "ascend-a3", "--plan-only")
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(lines) == 2
    assert lines[0].startswith("cd /workspace && HCCL_OP_EXPANSION_MODE=AIV VLLM_ASCEND_ENABLE_FLASHCOMM1=0 ")
    assert "--load-format dummy" in lines[0]
    assert "--load-format" not in lines[1]
    assert "--trust-remote-code is left out" in done.stdout
    assert alive() == []


def test_a_plan_for_a_checkpoint_that_is_not_here_says_so(seatrial, checkpoint):
    words = ("--target", "ascend-a3", "--stage", "real", "--plan-only")
    elsewhere = seatrial("gate", "/on/another/machine/model", *words)
    assert elsewhere.returncode == 0
    assert "no config.json can be seen at /on/another/machine/model" in elsewhere.stdout
    assert "no config.json" not in seatrial("gate", str(checkpoint), *words).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layers", "1", "--stage", "real"), "has no real weights"),
        (("--layers", "9", "--stage", "dummy"), "the checkpoint has 2 layers"),
        (("--python", "/nowhere/python"), "is no program that can be run"),
    ],
)
def test_bad_words_are_one_line(seatrial, checkpoint, words, said):
    (checkpoint / "config.json").write_text(json.dumps({"num_hidden_layers": 2}))
    done = seatrial("gate", str(checkpoint), "--target", "stand-in", *words)
    assert done.returncode in (2, 4)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_starts_shows_logs_and_stops(seatrial, checkpoint, alive):
    words = ("serve", "start", str(checkpoint), "--target", "stand-in", "--json")
    started = json.loads(seatrial(*words, fault="grandchild").stdout)
    record = started["server"]["record"]
    assert started["server"]["state"] == "serving"
    with urllib.request.urlopen(f"http://127.0.0.1:{record['port']}/v1/models", timeout=300) as reply:
        assert b"tiny-model" in reply.read()
    again = seatrial(*words)
    assert again.returncode == 2
    assert "already there" in again.stderr
    assert "serving" in seatrial("serve", "status").stdout
    assert seatrial("serve", "status", "tiny-model").returncode == 0
    assert "Application startup complete" in seatrial("serve", "logs", "tiny-model").stdout
    stopped = seatrial("serve", "stop", "tiny-model")
    assert (stopped.returncode, alive()) == (0, []), stopped.stdout
    assert seatrial("serve", "stop", "tiny-model").returncode == 2


def test_a_server_that_stays_keeps_no_key_in_its_record(seatrial, checkpoint, tmp_path, alive):
    words = (
        "serve",
        "start",
        str(checkpoint),
        "--target",
        "stand-in",
        "--arg=--api-key",
        "--arg=bosuns-whistle",
        "--json",
    )
    started = seatrial(*words)
    assert json.loads(started.stdout)["server"]["state"] == "serving"
    record = (tmp_path / "state" / "servers" / "tiny-model" / "server.json").read_text()
    assert "bosuns-whistle" not in record + started.stdout
    assert seatrial("serve", "stop", "tiny-model").returncode == 0
    assert alive() == []


def test_serve_finds_what_a_killed_keeper_left_and_ends_it_when_told(seatrial, checkpoint, alive):
    words = ("serve", "start", str(checkpoint), "--target", "stand-in", "--json")
    record = json.loads(seatrial(*words, fault="grandchild").stdout)["server"]["record"]
    keeper = psutil.Process(record["keeper_pid"])
    os.kill(keeper.pid, signal.SIGKILL)
    keeper.wait(300)
    assert "orphaned" in seatrial("serve", "status").stdout
    assert len(alive()) == 1
    assert seatrial("serve", "stop", "tiny-model").returncode == 0
    assert alive() == []


def test_serve_reports_a_server_that_does_not_come_up(seatrial, checkpoint, alive):
    done = seatrial("serve", "start", str(checkpoint), "--target", "stand-in", fault="die-at-start")
    assert done.returncode == 1
    assert "with exit code 7" in done.stdout
    assert alive() == []
    assert "ended with exit code 7" in seatrial("serve", "status").stdout
    one = seatrial("serve", "status", "tiny-model", "--json")
    assert (one.returncode, json.loads(one.stdout)[0]["state"]) == (1, "ended")


def test_a_config_that_is_a_fifo_is_not_waited_for(seatrial, tmp_path):
    folder = tmp_path / "piped"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        os.mkfifo(folder / name)
    assert seatrial("gate", str(folder), "--target", "ascend-a3", "--plan-only").returncode == 0
    from seatrial.gates.plan import read_model
    from seatrial.gates.requests import has_chat_template

    assert read_model(folder).config == {}
    assert not has_chat_template(folder)


def test_a_checkpoint_that_is_not_there_is_a_usage_error(seatrial):
    done = seatrial("gate", "nowhere", "--target", "stand-in")
    assert done.returncode == 2, done.stderr
    assert "nowhere is not a folder" in done.stderr
