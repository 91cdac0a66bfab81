"""The promise of the scaffold: Qwen3 and Qwen3-MoE under names nobody knows run unedited, from a plugin it wrote."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from quantised import write_quantised
from scaffold_sources import CONFIG, MOE, checkpoint, dense, drafted, drafted_itself, sparse

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
# Checkpoints with a draft (MTP) layer of their own: config.json and tensors.
DRAFTED = {
    "drafted": ({"architectures": ["HarbourPairForCausalLM"], "model_type": "harbour_pair"}, drafted(dense(), 2)),
    "drafted_moe": (
        MOE
        | {"architectures": ["HarbourMoePairForCausalLM"], "model_type": "harbour_moe_pair"}
        | {"num_hidden_layers": 3, "first_k_dense_replace": 1},
        drafted(sparse(3, 1), 3),
    ),
}
# Drafts whose layers have numbers of their own: whose names they have, and the model's tensors.
for _house, _fields, _shapes in (("mimo", {}, dense()), ("qwen", MOE, sparse())):
    _named = {"architectures": [f"Harbour{_house.title()}ForCausalLM"], "model_type": f"harbour_{_house}"}
    DRAFTED[_house] = (CONFIG | _fields | _named, drafted_itself(_shapes, 2, _house))
HIDDEN = {"qwen3": "HarbourForCausalLM", "qwen3_moe": "HarbourMoeForCausalLM"}
# What no template writes is written as a subclass of a relative: images; and latent attention (LATENT), with a draft.
OVERLAID = {"llava": "HarbourSightForConditionalGeneration"}
LATENT = {"deepseek_v3": "HarbourLatentForCausalLM"}


def with_draft(folder: Path, base: Path) -> Path:
    """Headers of the checkpoint in `base` with a draft layer after its last, in the naming of DeepSeek-V3."""
    config = json.loads((base / "config.json").read_text())
    config |= {"architectures": ["HarbourLatentPairForCausalLM"], "model_type": "harbour_latent_pair"}
    config["num_nextn_predict_layers"] = 1
    shapes = {t.name: list(t.shape) for t in read_checkpoint(base).tensors}
    return checkpoint(folder, config, drafted(shapes, config["num_hidden_layers"]))


@pytest.fixture(scope="module")
def engine_python() -> Path:
    named = os.environ.get("SEATRIAL_ENGINE_PYTHON")
    return Path(named) if named else target_python(load_target("cpu").target)


@pytest.fixture(scope="module")
def hidden(engine_python, tmp_path_factory):
    """Tiny checkpoints whose architecture and model type neither vLLM nor transformers has."""
    root = tmp_path_factory.mktemp("hidden")
    with ProbeSession(engine_python, log=root / "probe.log") as session:
        for family, architecture in (HIDDEN | OVERLAID | LATENT).items():
            folder = root / family
            folder.mkdir()
            reply = session.call("tiny_checkpoint", {"family": family, "folder": str(folder)}, timeout_s=1500)
            assert reply.status == "answered", reply.trouble()
            config = json.loads((folder / "config.json").read_text())
            config |= {"architectures": [architecture], "model_type": f"harbour_{family}"}
            (folder / "config.json").write_text(json.dumps(config))
    for name, (method, moe) in QUANTISED.items():
        write_quantised(root / name, method, f"Harbour{method.capitalize()}ForCausalLM", moe=moe)
    for name, (fields, shapes) in DRAFTED.items():
        checkpoint(root / name, {**CONFIG, **fields, "num_nextn_predict_layers": 1}, shapes)
    with_draft(root / "latent_pair", root / "deepseek_v3")
    return root


@pytest.fixture(scope="module")
def installed(engine_python, hidden, tmp_path_factory):
    """One plugin with both models, as the command wrote them, installed by pip into a folder of its own."""
    root = tmp_path_factory.mktemp("plugin") / "vllm-harbour"
    done = CliRunner().invoke(command, ["plugin", "vllm-harbour", "--into", str(root)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for family in (*HIDDEN, *OVERLAID, *QUANTISED, *DRAFTED, "latent_pair"):
        argv = [str(hidden / family), "--into", str(root), "--engine", str(engine_python)]
        done = CliRunner().invoke(command, argv, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    build, site = root.parent / "build", root.parent / "site"
    shutil.copytree(root, build)
    pip = [engine_python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run([*map(str, pip), "--target", str(site), str(build)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return site


def _run_written_tests(engine_python: Path, installed: Path, tmp_path: Path) -> None:
    """The unit tests that were written for an overlay with a draft, and for MiMo's layout, in the engine's interpreter.

    The engine has no pytest: this one's modules are linked beside it.
    """
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for name in ("_pytest", "pytest", "py", "pluggy", "iniconfig", "pygments", "packaging"):
        origin = Path(importlib.util.find_spec(name).origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (borrowed / source.name).symlink_to(source)
    tests = [str(installed.parent / "vllm-harbour/tests" / f"test_harbour_{n}.py") for n in ("latent_pair", "mimo")]
    done = subprocess.run(
        [str(engine_python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *tests],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(borrowed), str(installed)])},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def projection_of(states: dict[str, str]) -> str:
    """The draft's own tensor that no model has, whatever its layout calls it."""
    (name,) = {n for n in states if n.endswith((".eh_proj.weight", ".input_proj.weight", "mtp.fc.weight"))}
    return name


def test_the_scaffolds_pass_the_dry_run_and_the_dense_one_serves(engine_python, hidden, installed, tmp_path):
    known = read_registry(engine_python).supported()
    assert not set(HIDDEN.values()) & set(known)
    with ProbeSession(engine_python, log=tmp_path / "dry.log", env={"PYTHONPATH": str(installed)}) as session:
        for family in (*HIDDEN, *OVERLAID):
            for tp in (1, 2) if family in HIDDEN else (2,):
                result = dry(hidden / family, read_checkpoint(hidden / family).tensors, session=session, tp=tp)
                assert result.outcome.verdict is Verdict.PASS, f"{family}, TP {tp}: {result.outcome.reason}"
        for name in QUANTISED:
            result = dry(hidden / name, read_checkpoint(hidden / name).tensors, session=session, tp=2)
            assert result.outcome.verdict is Verdict.PASS, f"{name}: {result.outcome.reason}"
        for name in (*DRAFTED, "latent_pair"):
            folder = hidden / name
            tensors = read_checkpoint(folder).tensors
            for tp in (1, 2) if name == "drafted" else (2,):
                for more in ({}, {"target": folder}):
                    result = dry(folder, tensors, session=session, tp=tp, **more)
                    assert result.outcome.verdict is Verdict.PASS, f"{name}, TP {tp}, {more}: {result.outcome.reason}"
                    # The model leaves the draft's own tensor, the draft takes it.
                    states = {line.kind: line.state for line in result.facts.tensors}
                    assert states[projection_of(states)] == ("loaded" if more else "dropped")
    _run_written_tests(engine_python, installed, tmp_path)
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
