"""Parity and locate compute in what the target's server computes in, with its ranks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from seatrial.cli import _accuracy_reference as commands
from seatrial.core.errors import UsageError
from seatrial.measure.accuracy import locate as locate_module
from seatrial.measure.accuracy import parity as parity_module
from seatrial.measure.accuracy import serving, tensor_account

TARGET = """
[targets.narrow]
extends = "cpu"
[targets.narrow.serve.args]
dtype = "half"
tensor-parallel-size = 2
"""


class Seen(UsageError):
    """Ends the command once it has said what it asks for."""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": "bfloat16"}))
    (tmp_path / "seatrial.toml").write_text(TARGET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seatrial.engine.choose.target_python", lambda target: Path(sys.executable))
    monkeypatch.setattr(commands, "_served", lambda *args, **more: ((), "a server", ()))
    monkeypatch.setattr(serving, "rank_env", lambda *args, **more: {})
    monkeypatch.setattr(tensor_account, "tensor_account", lambda *args, **more: None)
    seen = []

    def judge(session, place, found, *, dtype, **more):
        seen.append(dtype)
        raise Seen("seen")

    def find(session, setting, *args, **more):
        seen.append((setting.dtype, setting.tp))
        raise Seen("seen")

    monkeypatch.setattr(parity_module, "parity", judge)
    monkeypatch.setattr(locate_module, "locate", find)

    def run(command, *words):
        seen.clear()
        done = CliRunner().invoke(command, [str(folder), *words])
        assert seen, done.output + repr(done.exception)
        return seen[0]

    return run


def test_the_reference_is_scored_in_the_targets_dtype(asked):
    assert asked(commands.parity, "--target", "narrow") == "float16"
    assert asked(commands.parity, "--target", "narrow", "--dtype", "float32") == "float32"
    assert asked(commands.parity, "--target", "cpu") == "bfloat16"


def test_a_server_of_somebody_elses_has_not_the_targets_dtype(asked):
    assert asked(commands.parity, "--target", "narrow", "--url", "http://127.0.0.1:1") == "bfloat16"


def test_locate_runs_the_targets_ranks_in_its_dtype(asked):
    assert asked(commands.locate, "--target", "narrow") == ("float16", 2)
    assert asked(commands.locate, "--target", "narrow", "--tp", "1", "--dtype", "float32") == ("float32", 1)
    assert asked(commands.locate, "--target", "cpu") == ("auto", 1)
