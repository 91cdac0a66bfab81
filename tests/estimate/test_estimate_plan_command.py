"""`seatrial plan` and `seatrial hardware`: exit codes, JSON, one line for what a user can mend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*argv):
    return subprocess.run([sys.executable, "-m", "seatrial", *argv], capture_output=True, text=True, timeout=500)


@pytest.fixture
def folder(make):
    return make().card.folder


def test_a_pass_ends_with_0_and_one_json_document(folder):
    done = run("plan", folder, "--hardware", "nvidia-h20", "--prompt", "128", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["plan"]["level"] == "pass"
    assert found["speed"]["tpot_s"] > 0


def test_a_fail_ends_with_1_and_says_what_could_be_changed(folder):
    done = run("plan", folder, "--hardware", "nvidia-h20", "--memory", "0.2", "--max-num-seqs", "64")
    assert done.returncode == 1
    assert "limiting: KV cache memory" in done.stdout
    assert "--tensor-parallel-size" in done.stdout


def test_unknown_memory_ends_with_3(folder):
    done = run("plan", folder, "--hardware", "kunlun-p800")
    assert done.returncode == 3
    assert "unknown" in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ("--tp", "3", "--hardware", "nvidia-h20"),
        ("--hardware", "h900"),
        ("--target", "nowhere"),
        ("--learn", "--hardware", "nvidia-h20"),
        ("--from-log", "absent.log", "--hardware", "nvidia-h20"),
        ("--target", "cuda", "--recommend", "most-throughput"),
        ("--hardware", "nvidia-h20", "--tpot", "0.05"),
        ("--hardware", "nvidia-h20", "--recommend", "fewest-cards", "--draft", ".", "--spec-tokens", "2"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_2(folder, argv):
    done = run("plan", folder, *argv)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_faulty_metrics_file_names_file_and_key(folder, tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text('{"schema_version": 1, "batch": 1, "prompt": 5, "output": 5, "tpot": 1}')
    done = run("plan", folder, "--hardware", "nvidia-h20", "--measured", str(file))
    assert done.returncode == 4
    assert "metrics.json" in done.stderr
    assert "tpot" in done.stderr
    assert "Traceback" not in done.stderr


def test_hardware_shows_the_source_of_every_number():
    done = run("hardware", "show", "ascend-910b3")
    assert done.returncode == 0
    assert "msmodeling" in done.stdout
    listed = run("hardware", "list", "--json")
    assert len(json.loads(listed.stdout)) >= 12


def test_what_if_shows_every_point_and_names_what_is_left_out(folder):
    done = run("plan", folder, "--hardware", "nvidia-h20", "--what-if", "tp=1,2,3", "--what-if", "batch=1,8", "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)["table"]
    assert table["points"] == 4
    assert "size 3" in table["skipped"][0]


def test_what_if_keeps_the_stages_and_replicas_and_takes_an_axis_once(folder):
    argv = ("plan", folder, "--hardware", "nvidia-h20", "--what-if", "tp=1", "--json")
    alone, both = (json.loads(run(*argv, *more).stdout)["table"]["columns"] for more in ((), ("--dp", "2")))
    assert both["tokens_per_s"] == pytest.approx([2 * alone["tokens_per_s"][0]])
    twice = run(*argv, "--what-if", "tp=2")
    assert twice.returncode == 2
    assert "tp is named twice" in twice.stderr


@pytest.mark.parametrize("axis", ["tp=x", "depth=1", "tp=0", "accept=", "batch=1.5", "tp=nan"])
def test_a_faulty_axis_is_refused(folder, axis):
    done = run("plan", folder, "--hardware", "nvidia-h20", "--what-if", axis)
    assert done.returncode == 2
    assert "--what-if" in done.stderr


@pytest.mark.parametrize("axis", ["tp=inf", "tp=1e30", "accept=2", "accept=nan", "ep=5", "batch=0"])
def test_a_value_of_what_if_out_of_range_is_a_usage_error(folder, axis):
    done = run("plan", folder, "--hardware", "nvidia-h20", "--what-if", axis)
    assert done.returncode == 2, done.stderr
    assert "out of range" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens but does not read")
def test_a_calibration_file_that_cannot_be_read_is_one_line(folder):
    done = run("plan", folder, "--memory", "64", "--calibration", "/proc/self/mem")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "cannot be read" in done.stderr


def test_a_bar_never_grows_past_the_device():
    from seatrial.cli._plan_show import _bar

    assert _bar(1.0, 2.0) == "#" * 20
    assert _bar(10**60, 2.0) == "#" * 40 + ">"
    assert _bar(-1.0, 2.0) == ""


TOWER = {
    "hidden_size": 64, "depth": 2, "intermediate_size": 128, "out_hidden_size": 64, "in_channels": 3,
    "temporal_patch_size": 2, "patch_size": 16, "spatial_merge_size": 2, "num_position_embeddings": 16,
}  # fmt: skip


@pytest.mark.parametrize("wrong", [{"deepstack_visual_indexes": 1.5}, {"depth": 2**64}])
def test_nonsense_in_a_tower_is_named_as_what_lacks(wrong):
    from seatrial.estimate.matrices_towers import _qwen
    from seatrial.estimate.model import Lacking

    assert _qwen(TOWER)
    with pytest.raises(Lacking, match="vision_config"):
        _qwen({**TOWER, **wrong})


@pytest.mark.parametrize(
    "option", [("--memory", "nan"), ("--memory", "inf"), ("--memory", "1e308"), ("--margin", "nan"), ("--ttft", "inf")]
)
def test_a_number_that_is_not_finite_is_a_usage_error(folder, option):
    done = run("plan", folder, "--memory", "64", *option)
    assert done.returncode == 2, done.stderr
    assert option[0] in done.stderr


TARGET = """
[targets.wide]
extends = "cuda"
[targets.wide.serve.args]
tensor-parallel-size = 2
max-model-len = 96
max-num-seqs = 7
enforce-eager = true
gpu-memory-utilization = 0.5
quantization = "fp8"
"""


@pytest.fixture
def planned(folder, tmp_path, monkeypatch):
    """The plan's question and the document, with a target of that folder's."""
    (tmp_path / "seatrial.toml").write_text(TARGET)
    monkeypatch.chdir(tmp_path)

    def plan(*words):
        done = run("plan", folder, "--memory", "8", "--json", *words)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    return plan


def test_a_plan_for_a_target_is_of_what_its_server_is_started_with(planned):
    found = planned("--target", "wide")
    asked = found["plan"]["asked"]
    assert (asked["layout"]["tp"], asked["length"], asked["requests"]) == (2, 96, 1)
    serving = asked["serving"]
    assert (serving["max_num_seqs"], serving["eager"], serving["utilization"]) == (7, True, 0.5)
    assert any("--quantization" in note for note in found["unknown"])


def test_the_command_line_wins_over_the_target(planned):
    words = ("--tp", "1", "--max-model-len", "64", "--max-num-seqs", "3", "--gpu-memory-utilization", "0.9")
    asked = planned("--target", "wide", *words)["plan"]["asked"]
    assert (asked["layout"]["tp"], asked["length"], asked["requests"]) == (1, 64, 3)
    assert asked["serving"]["utilization"] == 0.9


def test_a_device_that_is_named_outright_is_planned_without_the_default_target(planned):
    asked = planned()["plan"]["asked"]
    assert (asked["layout"]["tp"], asked["serving"]["utilization"], asked["serving"]["eager"]) == (1, 0.9, False)


def test_figures_of_a_log_are_shown_with_their_units(folder, tmp_path):
    head = "(EngineCore_DP0 pid=7) INFO 05-12 10:12:00 [kv_cache_utils.py:1291] "
    log = tmp_path / "server.log"
    log.write_text(
        f"{head}Available KV cache memory: 12.50 GiB\n{head}GPU KV cache size: 1,641,216 tokens\n"
        f"{head}Maximum concurrency for 4,096 tokens per request: 400.69x\n"
    )
    told = run("plan", folder, "--hardware", "nvidia-h20", "--from-log", str(log)).stdout
    assert "12.5 GiB" in told
    assert "1,641,216 tokens" in told
    assert "400.69 requests" in told
    assert "e+" not in told
