"""`seatrial dry` loads the layout that the target's server would have, and a draft in the same one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from seatrial import dryrun
from seatrial.cli.dry import command
from seatrial.core.step import StepResult
from seatrial.core.verdict import passed
from seatrial.engine import choose
from shards import write_shard

TARGET = """
[targets.wide]
extends = "cpu"
[targets.wide.serve.args]
tensor-parallel-size = 4
pipeline-parallel-size = 2
enable-expert-parallel = true
dtype = "float16"
quantization = "fp8"
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Runs the command with a loader that only notes what it was given."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    write_shard(folder / "model.safetensors", {"lm_head.weight": ("BF16", [4, 4])})
    (tmp_path / "seatrial.toml").write_text(TARGET)
    calls = []

    def note(where, tensors, **given):
        calls.append(given)
        return StepResult(step="dry", outcome=passed(), summary="noted", facts={})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dryrun, "dry", note)
    monkeypatch.setattr(choose, "target_python", lambda target: Path(sys.executable))

    def run(*words):
        calls.clear()
        done = CliRunner().invoke(command, [str(folder), "--json", *map(str, words)])
        assert done.exit_code == 0, done.output
        return list(calls)

    return run


LAYOUT = ("tp", "pp", "ep", "dtype", "quantization")


def test_the_layout_is_the_targets(asked):
    (given,) = asked("--target", "wide")
    assert tuple(given[name] for name in LAYOUT) == (4, 2, True, "float16", "fp8")


def test_what_the_command_line_says_wins(asked):
    (given,) = asked("--target", "wide", "--tp", "1", "--pp", "1", "--no-ep", "--dtype", "bfloat16")
    assert tuple(given[name] for name in LAYOUT) == (1, 1, False, "bfloat16", "fp8")


def test_a_target_without_a_layout_is_one_rank(asked):
    (given,) = asked("--target", "cpu")
    assert tuple(given[name] for name in LAYOUT) == (1, 1, False, "", "")


def test_a_draft_is_loaded_in_the_layout_of_its_target(asked, tmp_path):
    model, draft = asked("--target", "cpu", "--tp", "2", "--ep", "--draft", tmp_path / "model")
    assert (model["tp"], model["ep"]) == (draft["tp"], draft["ep"]) == (2, True)
