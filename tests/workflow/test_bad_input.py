"""Bad input to the main job: one line that names the file or key and the mend, the right exit code, nothing lost.

The engine is this Python, which has no vLLM: enough to reach every fault that comes before a model is built.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.shards import write_shard

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
}
TENSORS = {
    "model.embed_tokens.weight": ("BF16", [32, 8]),
    "model.norm.weight": ("BF16", [8]),
    "model.layers.0.input_layernorm.weight": ("BF16", [8]),
    "model.layers.0.post_attention_layernorm.weight": ("BF16", [8]),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", [8, 8]),
    "model.layers.0.self_attn.k_proj.weight": ("BF16", [4, 8]),
    "model.layers.0.self_attn.v_proj.weight": ("BF16", [4, 8]),
    "model.layers.0.self_attn.o_proj.weight": ("BF16", [8, 8]),
    "model.layers.0.self_attn.q_norm.weight": ("BF16", [4]),
    "model.layers.0.self_attn.k_norm.weight": ("BF16", [4]),
    "model.layers.0.mlp.gate_proj.weight": ("BF16", [16, 8]),
    "model.layers.0.mlp.up_proj.weight": ("BF16", [16, 8]),
    "model.layers.0.mlp.down_proj.weight": ("BF16", [8, 16]),
}


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_shard(folder / "model.safetensors", TENSORS)
    return folder


@pytest.fixture
def place(tmp_path):
    """A working folder whose target `here` uses this Python as the engine."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "seatrial.toml").write_text(
        '[targets.here]\nextends = "cpu"\n[targets.here.engine]\nkind = "interpreter"\n'
        f'interpreter = "{sys.executable}"\n'
    )
    return folder


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    target = [] if "--resume" in words else ["--target", "here"]
    result = subprocess.run(
        [sys.executable, "-m", "seatrial", "run", *words, *target], capture_output=True, text=True, cwd=cwd
    )
    assert "Traceback" not in result.stderr + result.stdout, result.stderr + result.stdout
    return result


def runs(cwd: Path) -> list[dict[str, str]]:
    shown = subprocess.run([sys.executable, "-m", "seatrial", "runs", "list", "--json"], capture_output=True, cwd=cwd)
    return json.loads(shown.stdout)


def test_an_engine_without_vllm_fails_and_later_steps_are_recorded_as_not_run(checkpoint, place):
    result = run(str(checkpoint), "--json", cwd=place)
    assert result.returncode == 1
    steps = json.loads(result.stdout)["steps"]
    assert steps["inspect"]["outcome"]["verdict"] == "pass"
    assert "vLLM cannot be imported" in steps["engine"]["outcome"]["reason"]
    assert {steps[s]["outcome"]["verdict"] for s in ("support", "dry", "dummy", "real")} == {"inconclusive"}
    assert runs(place)[0]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda c: (c / "config.json").unlink(), ["config.json"]),
        (lambda c: (c / "config.json").write_text('{"a": '), ["config.json"]),
        (lambda c: (c / "config.json").write_bytes(b"\xff\xfe{}"), ["config.json"]),
        (
            lambda c: (c / "model.safetensors").write_bytes((c / "model.safetensors").read_bytes()[:-10]),
            ["model.safetensors"],
        ),
        (
            lambda c: (c / "model.safetensors.index.json").write_text(
                json.dumps({"weight_map": dict.fromkeys(TENSORS, "model-00001-of-00001.safetensors")})
            ),
            ["model-00001-of-00001.safetensors"],
        ),
    ],
    ids=["no config.json", "broken JSON", "not UTF-8", "truncated shard", "absent shard"],
)
def test_a_faulty_checkpoint_fails_in_inspect_and_names_the_file(checkpoint, place, damage, words):
    damage(checkpoint)
    result = run(str(checkpoint), cwd=place)
    assert result.returncode == 1, result.stdout
    shown = " ".join(result.stdout.split())
    for word in words:
        assert word in shown
    assert "not run, because inspect failed" in shown


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["no-such-folder"], 2, "no-such-folder"),
        (["CHECKPOINT", "--resume", "last"], 2, "--resume"),
        (["CHECKPOINT", "--tp", "0"], 2, "--tp"),
        (["CHECKPOINT", "--stages", "dry,wet"], 2, "'wet'"),
        (["CHECKPOINT", "--stages", ","], 2, "--stages"),
        (["--resume", "last", "--tp", "2"], 2, "--tp"),
        (["--resume", "last", "--keep-going"], 2, "--keep-going"),
        (["x" * 5000], 2, "not a folder"),
    ],
)
def test_a_wrong_argument_is_exit_2_and_makes_no_run(checkpoint, place, words, code, says):
    result = run(*[str(checkpoint) if w == "CHECKPOINT" else w for w in words], cwd=place)
    assert result.returncode == code
    assert says in result.stderr
    assert runs(place) == []


def test_a_missing_interpreter_is_exit_4_and_names_the_key(checkpoint, place):
    (place / "seatrial.toml").write_text(
        '[targets.here]\nextends = "cpu"\n[targets.here.engine]\nkind = "interpreter"\ninterpreter = "/no/python"\n'
    )
    result = run(str(checkpoint), cwd=place)
    assert result.returncode == 4
    assert "engine.interpreter" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_taken_port_is_exit_4_names_the_port_and_the_run_is_kept(checkpoint, place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (place / "seatrial.toml").open("a") as stream:
            stream.write(f"[targets.here.serve]\nport = {port}\n")
        result = run(str(checkpoint), "--keep-going", "--stages", "dummy", cwd=place)
    assert result.returncode == 4, result.stdout + result.stderr
    assert f"{port}" in result.stderr
    [row] = runs(place)
    assert row["state"] == "unfinished"


def test_an_unwritable_workspace_is_exit_4_and_earlier_runs_stay(checkpoint, place, tmp_path):
    run(str(checkpoint), cwd=place)
    before = runs(place)
    (tmp_path / "file").write_text("")
    result = run(str(checkpoint), "--workspace", str(tmp_path / "file"), cwd=place)
    assert result.returncode == 4
    assert "--workspace" in result.stderr
    assert result.stderr.count("\n") == 1
    assert runs(place) == before


def test_bytes_that_are_not_utf8_in_environment_and_path_are_no_traceback(checkpoint, place):
    result = subprocess.run(
        [sys.executable, "-m", "seatrial", "run", str(checkpoint), "--target", "here", "--json"],
        capture_output=True,
        cwd=place,
        env={**os.environ, "LANGUAGE": "a", os.fsdecode(b"VLLM_X"): os.fsdecode(b"\xff")},
    )
    assert result.returncode == 1, result.stderr
    other = checkpoint.rename(checkpoint.parent / os.fsdecode(b"check\xff"))
    refused = subprocess.run(
        [sys.executable, "-m", "seatrial", "run", other, "--target", "here"], capture_output=True, cwd=place
    )
    assert refused.returncode == 2, refused.stderr
    assert b"UTF-8" in refused.stderr
    assert b"Traceback" not in refused.stderr


def test_secrets_of_the_target_are_not_kept_by_a_run_or_its_resume(checkpoint, place):
    with (place / "seatrial.toml").open("a") as stream:
        stream.write('[targets.here.launch.env]\nHF_TOKEN = "sesame"\n[targets.here.serve.args]\napi-key = "sesame"\n')
    assert run(str(checkpoint), cwd=place).returncode == 1
    resumed = subprocess.run([sys.executable, "-m", "seatrial", "run", "--resume", "last"], cwd=place)
    assert resumed.returncode == 1
    kept = [f for f in (place / ".seatrial").rglob("*") if f.is_file() and b"sesame" in f.read_bytes()]
    assert kept == []
