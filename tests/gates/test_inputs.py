"""What a user can get wrong in `serve`, `gate`, `features`, `capacity`, `soak` is one line, before anything starts."""

from __future__ import annotations

import json
import os
import sys

import pytest

from seatrial.cli.main import entry
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.gates.owned import refuse_owned

COMMANDS = [("serve", "start"), ("gate",), ("features",), ("capacity",), ("soak",)]
KEEPING = COMMANDS[1:]


@pytest.fixture
def said(stand_in_target, tmp_path, checkpoint, monkeypatch, capfd, alive):
    """Runs the program in a folder with the stand-in's target; gives the exit code and what was written."""
    stand_in_target("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEATRIAL_STATE", str(tmp_path / "state"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["seatrial", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            entry()
        written = capfd.readouterr()
        assert "Traceback" not in written.err
        assert alive() == []
        return ended.value.code, written.err + written.out

    return run


def refused(answer, *words):
    code, text = answer
    assert code == 2, text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_checkpoint_that_is_none(said, tmp_path, command):
    (tmp_path / "file").touch()
    refused(said(*command, tmp_path / "gone", "--target", "stand-in"), "is not a folder")
    refused(said(*command, tmp_path / "file", "--target", "stand-in"), "is not a folder")
    refused(said(*command, "", "--target", "stand-in"), "the empty text names no path")
    refused(said(*command, "x" * 300, "--target", "stand-in"), "cannot be read")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--target", "nope"), "unknown target 'nope'"),
        (("--target", ""), "unknown target ''"),
        (("--tp", "0"), "'--tp'"),
        (("--tp", "-1"), "'--tp'"),
        (("--tp", "two"), "'--tp'"),
        (("--stage", "fake"), "'--stage'"),
        (("--no-such-option",), "No such option"),
    ],
)
def test_options_that_mean_nothing(said, checkpoint, command, words, told):
    refused(said(*command, checkpoint, *words), told)


@pytest.mark.parametrize("command", KEEPING, ids=" ".join)
def test_a_folder_to_keep_that_cannot_be_one(said, tmp_path, checkpoint, command):
    (tmp_path / "file").touch()
    words = (*command, checkpoint, "--target", "stand-in", "--out")
    refused(said(*words, tmp_path / "file"), "cannot be made a folder: File exists")
    refused(said(*words, tmp_path / "file" / "below"), "cannot be made a folder: Not a directory")
    refused(said(*words, ""), "the empty text names no path")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("serve", "start", "{}", "--port", "99999"), "'--port'"),
        (("serve", "start", "{}", "--port", "-1"), "'--port'"),
        (("serve", "start", "{}", "--name", ""), "'' cannot be a server's name"),
        (("serve", "start", "{}", "--name", "../x"), "cannot be a server's name"),
        (("serve", "start", "{}", "--arg=--port=5"), "--port is set by seatrial"),
        (("serve", "start", "{}", "--arg=--host", "--arg=0.0.0.0"), "--host is set by seatrial"),
        (("serve", "stop", ""), "there is no server ''"),
        (("serve", "status", "../.."), "there is no server"),
        (("serve", "logs", "gone", "-n", "0"), "'--lines'"),
        (("gate", "{}", "--python", "{}"), "is no program that can be run"),
        (("gate", "{}", "--layers", "1"), "has no real weights"),
        (("gate", "{}", "--layers", "1", "--plan-only"), "has no real weights"),
        (("gate", "{}", "--layers", "1", "--stage", "dummy"), "gives no number of layers"),
        (("gate", "{}", "--arg="), "an argument for the server is empty"),
        (("gate", "{}", "--stage", "real", "--arg=--load_format=dummy"), "not for the real stage"),
        (("features", "{}", "--only", ""), "unknown feature ''"),
        (("features", "{}", "--require", "warp"), "unknown feature 'warp'"),
        (("capacity", "{}", "--context", "1"), "'--context'"),
        (("capacity", "{}", "--sequences", "0"), "'--sequences'"),
        (("soak", "{}", "--requests", "-1"), "'--requests'"),
        (("soak", "{}", "--requests", "0"), "nothing to do"),
        (("soak", "{}", "--at-once", "0"), "'--at-once'"),
    ],
)
def test_words_of_one_command(said, checkpoint, words, told):
    given = [word.format(checkpoint) for word in words]
    target = [] if words[:2] in {("serve", n) for n in ("stop", "status", "logs")} else ["--target", "stand-in"]
    refused(said(*given, *target), told)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_folders_without_rights(said, tmp_path, checkpoint):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    refused(said("gate", checkpoint, "--target", "stand-in", "--out", shut), "cannot be written to")


def test_a_plan_of_a_cut_model_says_how_it_is_cut(said, checkpoint):
    (checkpoint / "config.json").write_text(json.dumps({"num_hidden_layers": 4}))
    code, text = said("gate", checkpoint, "--target", "cpu", "--stage", "dummy", "--layers", "1", "--plan-only")
    assert code == 0
    assert "--hf-overrides '{\"num_hidden_layers\": 1}'" in text
    assert "port 0 stands for a free one" in text


@pytest.mark.parametrize("words", [("--load-format", "dummy"), ("--load-format=DUMMY",), ("--load_format", "dummy")])
def test_a_real_gate_takes_no_dummy_weights(words):
    with pytest.raises(UsageError, match="not for the real stage"):
        refuse_owned(words, "real")
    refuse_owned(("--load-format", "safetensors", "-x", "--port-like=1", "--", "word"), "real")
    with pytest.raises(UsageError, match="not for the dummy stage"):
        refuse_owned(("--load-format", "safetensors"), "dummy")


def test_a_real_gate_whose_engine_says_dummy_weights_fails(stand_in_target, engine_home, checkpoint, tmp_path, alive):
    line = "INFO 11-20 00:00:00 [core.py:1] Initializing a V1 LLM engine (v0.32.0) with config: load_format=dummy; x=1"
    target = stand_in_target(f"say={line.replace(',', ';')}")
    made = {s: gate(checkpoint, target, python=engine_home, stage=s, scratch=tmp_path / s) for s in ("dummy", "real")}
    assert made["dummy"].outcome.verdict is Verdict.PASS
    assert made["real"].outcome.verdict is Verdict.FAIL
    assert made["real"].outcome.reason == "it serves dummy weights: the engine says load_format=dummy"
    assert alive() == []


def test_a_server_that_dies_on_a_full_disk_is_no_verdict_on_the_model(said, checkpoint, tmp_path, monkeypatch):
    class Full:
        f_bavail, f_frsize = 15, 4096

    monkeypatch.setattr("seatrial.gates.room.os.statvfs", lambda folder: Full)
    file = tmp_path / "seatrial.toml"
    file.write_text(file.read_text().replace('STAND_IN = ""', 'STAND_IN = "die-at-start"'))
    for command in (("serve", "start"), ("gate", "--stage", "real")):
        code, text = said(*command, checkpoint, "--target", "stand-in")
        assert (code, "is full: that the server failed there is no result" in text) == (4, True), text
    file.write_text(file.read_text().replace('STAND_IN = "die-at-start"', 'STAND_IN = ""'))
    code, text = said("gate", checkpoint, "--target", "stand-in", "--stage", "real")
    assert code == 0, text


def test_a_trial_that_cannot_be_written_down_ends_the_sweep_in_one_line(said, checkpoint, tmp_path):
    kept = tmp_path / "kept"
    (kept / "trials.jsonl").mkdir(parents=True)
    words = ("--target", "stand-in", "--context", "256", "--sequences", "2", "--out", kept)
    code, text = said("capacity", checkpoint, *words)
    assert code == 4
    assert "trials.jsonl: Is a directory. Free some space there" in text


def test_a_sweeps_folder_answers_for_that_sweep_only(said, checkpoint, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    words = ("--target", "stand-in", "--context", "256", "--sequences", "64", "--out", kept)
    code, text = said("capacity", checkpoint, *words)
    assert code == 0, text
    assert said("capacity", checkpoint, *words)[0] == 0
    assert len((kept / "trials.jsonl").read_bytes().splitlines()) == 1
    refused(said("capacity", checkpoint, *words, "--stage", "dummy"), "trials of another sweep", "stage")
    refused(said("capacity", checkpoint, *words, "--tp", "2"), "trials of another sweep", "tp")
    (checkpoint / "config.json").write_text('{"model_type": "qwen3", "hidden_size": 8}')
    refused(said("capacity", checkpoint, *words), "trials of another sweep", "checkpoint")
    (kept / "sweep.json").unlink()
    refused(said("capacity", checkpoint, *words), "trials of another sweep")


@pytest.mark.parametrize(("words", "tp"), [((), 4), (("--tp", "2"), 2)])
def test_a_run_takes_the_targets_tensor_parallel_size_unless_one_is_given(
    said, checkpoint, tmp_path, monkeypatch, words, tp
):
    asked = []

    def run_job(job, **more):
        asked.append(job)
        raise UsageError("enough")

    monkeypatch.setattr("seatrial.workflow.run_job", run_job)
    file = tmp_path / "seatrial.toml"
    file.write_text(file.read_text() + "[targets.stand-in.serve.args]\ntensor-parallel-size = 4\n")
    refused(said("run", checkpoint, "--target", "stand-in", *words), "enough")
    assert asked[0].tp == tp


def test_a_stray_file_beside_the_servers_is_none_and_a_log_that_is_gone_is_said(said, tmp_path):
    folder = tmp_path / "state" / "servers"
    (folder / "one").mkdir(parents=True)
    (folder / "notes.txt").touch()
    code, text = said("serve", "status")
    assert (code, "no server was started" in text) == (0, True), text
    known = {"name": "one", "model": "m", "checkpoint": "/m", "target": "cpu", "host": "127.0.0.1", "token": "t"}
    numbers = {"schema_version": 1, "port": 1, "keeper_pid": 2**22, "server_pid": 2**22, "stop_s": 1.0}
    times = {"keeper_born": 0.0, "started_at": 0.0, "command": {"purpose": "p", "argv": ["vllm"]}}
    (folder / "one" / "server.json").write_text(json.dumps({**known, **numbers, **times}))
    refused(said("serve", "logs", "one"), "server.log is gone")


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (["3.0", "4.0"], 7.0),
        (["1e3"], 1000.0),
        (["NaN"], None),
        (["3.0", "NaN"], None),
        (["+Inf"], None),
        (["1e999"], None),
        (["1.2.3"], None),
        (["--"], None),
        ([], None),
    ],
)
def test_a_counter_that_is_no_number_is_unknown(lines, value):
    from seatrial.gates.client import Client
    from seatrial.gates.exchange import Exchange

    text = "".join(f'vllm:x{{engine="{n}"}} {line}\n' for n, line in enumerate(lines)) + "vllm:x_other 9.0\n"
    reply = Exchange(method="GET", path="/metrics", how="answered", duration_s=0.1, status=200, body=text.encode())
    assert Client("m", lambda *_: reply).number("vllm:x") == value


def test_of_shards_of_which_one_cannot_be_read_no_tensor_is_said_to_be_missing(tmp_path):
    from tests.shards import write_shard

    from seatrial.gates.plan import read_model

    write_shard(tmp_path / "model-00001-of-00002.safetensors", {"model.layers.0.a": ("BF16", [2, 2])})
    write_shard(tmp_path / "model-00002-of-00002.safetensors", {"model.layers.1.mtp": ("BF16", [2, 2])})
    assert len(read_model(tmp_path).tensors) == 2
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    assert read_model(tmp_path).tensors == frozenset()
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": [["a"]]}')
    assert read_model(tmp_path).tensors == frozenset()
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": [1, 2]}')
    assert read_model(tmp_path).tensors == frozenset()
    (tmp_path / "model.safetensors.index.json").unlink()
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"\x03\0\0\0\0\0\0\0[1]")
    assert read_model(tmp_path).tensors == frozenset()
