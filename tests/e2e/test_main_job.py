"""The main job on the real engine: a good checkpoint passes, one with a weight removed fails in the dry run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.shards import drop_tensor

pytestmark = pytest.mark.engine
STEPS = ["inspect", "plan", "engine", "support", "dry", "dummy", "real", "plan-check"]
GONE = "model.layers.1.mlp.down_proj.weight"


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "seatrial", *words], capture_output=True, text=True, cwd=cwd)


def descendants_left(marker: str) -> list[str]:
    """Command lines of processes that still mention `marker` (a path only this test uses)."""
    lines = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if marker in line and process.pid != os.getpid():
            lines.append(line)
    return lines


@pytest.fixture(scope="module")
def good(tiny_qwen3, tmp_path_factory):
    """One whole good run, looked at by several tests."""
    place = tmp_path_factory.mktemp("good")
    result = run("run", str(tiny_qwen3), "--target", "cpu", "--json", cwd=place)
    return place, result


def test_a_good_checkpoint_passes_every_step_and_is_signed_off(good):
    _, result = good
    assert result.returncode == 0, result.stderr + result.stdout
    ended = json.loads(result.stdout)
    assert {s: r["outcome"]["verdict"] for s, r in ended["steps"].items()} == dict.fromkeys(STEPS, "pass")
    assert ended["finished"]["signed_off"] is True
    overhead = ended["finished"]["overhead_s"]
    assert ended["finished"]["wall_s"] == pytest.approx(ended["finished"]["engine_s"] + overhead, abs=0.01)


def test_its_evidence_verifies_its_report_is_there_and_nothing_is_left_running(good, tiny_qwen3):
    place, _ = good
    verified = run("runs", "verify", cwd=place)
    assert verified.returncode == 0, verified.stdout
    [folder] = (place / ".seatrial" / "runs").iterdir()
    report = (folder / "report.html").read_text()
    assert "Qwen3ForCausalLM" in report
    assert "signed off" in report
    assert (folder / "report.md").is_file()
    assert descendants_left(str(tiny_qwen3)) == []
    assert not (place / ".seatrial" / "scratch" / folder.name).exists()


def test_the_plan_of_the_run_is_what_its_engine_said(good):
    _, result = good
    ended = json.loads(result.stdout)
    folder = Path(ended["folder"])
    check = json.loads((folder / "artifacts" / ended["steps"]["plan-check"]["facts"]["file"]).read_bytes())
    rows = {r["what"]: r for r in check["rows"] if r["judged"]}
    assert set(rows) == {
        "weights of the largest rank", "KV cache per token", "KV tokens of the memory that the engine found"
    }  # fmt: skip
    exact = rows["weights of the largest rank"]
    assert exact["planned"]["low"] == exact["reported"]["low"] > 0
    report = (folder / "report.html").read_text()
    section = report[report.index('id="step-plan"') :]
    assert "Capacity of one replica" in section[: section.index("</section>")]


def test_resuming_a_finished_run_does_nothing_again(good):
    place, _ = good
    again = run("run", "--resume", "last", "--json", cwd=place)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["finished"]["reused"] == STEPS


def test_a_removed_weight_is_named_by_the_dry_run_although_the_server_answers_200(tiny_qwen3, copy_of, tmp_path):
    damaged = copy_of(tiny_qwen3)
    drop_tensor(damaged / "model.safetensors", GONE)
    result = run("run", str(damaged), "--keep-going", "--json", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    ended = json.loads(result.stdout)
    steps = ended["steps"]
    assert steps["dry"]["outcome"]["verdict"] == "fail"
    assert GONE in steps["dry"]["outcome"]["reason"]
    assert ended["finished"]["signed_off"] is False
    facts = json.loads((Path(ended["folder"]) / "artifacts" / steps["real"]["facts"]["file"]).read_bytes())
    assert any(r["status"] == 200 for r in facts["requests"]), "the server was to answer all the same"


def test_without_keep_going_the_gates_are_not_run_after_a_failed_dry_run(tiny_qwen3, copy_of, tmp_path):
    damaged = copy_of(tiny_qwen3)
    drop_tensor(damaged / "model.safetensors", GONE)
    result = run("run", str(damaged), cwd=tmp_path)
    assert result.returncode == 1
    assert GONE in result.stdout
    assert "not run, because dry failed" in " ".join(result.stdout.split())


def test_sigterm_in_a_gate_leaves_no_process_and_a_run_that_resumes(tiny_qwen3, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "seatrial", "run", str(tiny_qwen3), "--stages", "dummy"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    # The support step's line is the last one before the gate begins; the server's log shows that it has.
    for line in process.stderr:
        if " support " in line:
            break
    while not list(tmp_path.glob(".seatrial/scratch/*/dummy/server.log")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(60) == 128 + signal.SIGTERM, rest
    process.stderr.close()
    assert "--resume" in rest
    assert descendants_left(str(tiny_qwen3)) == []
    resumed = run("run", "--resume", "last", "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["finished"]["reused"] == ["inspect", "plan", "engine", "support"]
    assert run("runs", "verify", cwd=tmp_path).returncode == 0
