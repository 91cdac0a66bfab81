"""The promise of the scaffold: Qwen3 and Qwen3-MoE under names nobody knows run unedited, from a plugin it wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from quantised import write_quantised

from seatrial.checkpoint import read_checkpoint
from seatrial.cli.scaffold import command
from seatrial.core.verdict import Verdict
from seatrial.dryrun import dry
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.gates import gate
from seatrial.support.registry_read import read_registry
from seatrial.targets import load_target

pytestmark = pytest.mark.engine
# Checkpoints whose quantisation the template must carry through: the folder's name, its method, whether it has experts.
QUANTISED = {"fp8": ("fp8", False), "int8_moe": ("int8", True), "awq": ("awq", False)}
HIDDEN = {"qwen3": "HarbourForCausalLM", "qwen3_moe": "HarbourMoeForCausalLM"}


@pytest.fixture(scope="module")
def engine_python() -> Path:
    named = os.environ.get("SEATRIAL_ENGINE_PYTHON")
    return Path(named) if named else target_python(load_target("cpu").target)


@pytest.fixture(scope="module")
def hidden(engine_python, tmp_path_factory):
    """Tiny checkpoints whose architecture and model type neither vLLM nor transformers has."""
    root = tmp_path_factory.mktemp("hidden")
    with ProbeSession(engine_python, log=root / "probe.log") as session:
        for family, architecture in HIDDEN.items():
            folder = root / family
            folder.mkdir()
            reply = session.call("tiny_checkpoint", {"family": family, "folder": str(folder)}, timeout_s=300)
            assert reply.status == "answered", reply.trouble()
            config = json.loads((folder / "config.json").read_text())
            config |= {"architectures": [architecture], "model_type": f"harbour_{family}"}
            (folder / "config.json").write_text(json.dumps(config))
    for name, (method, moe) in QUANTISED.items():
        write_quantised(root / name, method, f"Harbour{method.capitalize()}ForCausalLM", moe=moe)
    return root


@pytest.fixture(scope="module")
def installed(engine_python, hidden, tmp_path_factory):
    """One plugin with both models, as the command wrote them, installed by pip into a folder of its own."""
    root = tmp_path_factory.mktemp("plugin") / "vllm-harbour"
    done = CliRunner().invoke(command, ["plugin", "vllm-harbour", "--into", str(root)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for family in (*HIDDEN, *QUANTISED):
        argv = [str(hidden / family), "--into", str(root), "--engine", str(engine_python)]
        done = CliRunner().invoke(command, argv, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    build, site = root.parent / "build", root.parent / "site"
    shutil.copytree(root, build)
    pip = [engine_python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run([*map(str, pip), "--target", str(site), str(build)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return site


def test_the_scaffolds_pass_the_dry_run_and_the_dense_one_serves(engine_python, hidden, installed, tmp_path):
    known = read_registry(engine_python).supported()
    assert not set(HIDDEN.values()) & set(known)
    with ProbeSession(engine_python, log=tmp_path / "dry.log", env={"PYTHONPATH": str(installed)}) as session:
        for family in HIDDEN:
            for tp in (1, 2):
                result = dry(hidden / family, read_checkpoint(hidden / family).tensors, session=session, tp=tp)
                assert result.outcome.verdict is Verdict.PASS, result.outcome.reason
        for name in QUANTISED:
            result = dry(hidden / name, read_checkpoint(hidden / name).tensors, session=session, tp=2)
            assert result.outcome.verdict is Verdict.PASS, f"{name}: {result.outcome.reason}"
    overrides = tmp_path / "seatrial.toml"
    overrides.write_text(
        f'[targets.harbour]\nextends = "cpu"\n[targets.harbour.launch.env]\nPYTHONPATH = "{installed}"\n'
    )
    target = load_target("harbour", overrides).target
    served = gate(
        hidden / "qwen3", target, python=engine_python, stage="real", scratch=tmp_path / "serve", max_model_len=512
    )
    assert served.outcome.verdict is Verdict.PASS, served.outcome.reason
    assert served.facts.resolved.architecture == "HarbourForCausalLM"
    assert served.facts.requests[0].text.strip()
