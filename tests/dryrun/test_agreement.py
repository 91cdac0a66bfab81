"""The dry run's verdict against a real load of the same files, compared parameter by parameter; more in the bench."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from seatrial.checkpoint import read_checkpoint
from seatrial.dryrun import dry
from seatrial.engine.border import ProbeSession

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from dry_agree import header_models, judge, make, real
from dry_mutants import drop, rename, transpose

pytestmark = pytest.mark.engine
MODELS = {model.name: model for model in header_models()}


@pytest.fixture(scope="module")
def loading(engine_python, tmp_path_factory):
    """The real loads get a process of their own: the dry run rearranges the engine in its."""
    with ProbeSession(engine_python, log=tmp_path_factory.mktemp("log") / "real.log") as session:
        yield session


def named(tensors, part):
    return next(i for i, tensor in enumerate(tensors) if part in tensor.name)


@pytest.mark.parametrize(
    ("name", "fault", "at"),
    [
        ("qwen3 tied", drop, "layers.1.mlp.down_proj"),
        ("qwen3 awq", drop, "layers.2.self_attn.k_proj.scales"),
        ("qwen3-moe fp8", rename, "layers.1.mlp.experts.2.up_proj.weight_scale_inv"),
        ("deepseek fp8 mla", transpose, "layers.1.self_attn.kv_b_proj.weight"),
    ],
)
def test_the_verdict_is_that_of_a_real_load_and_a_comparison_of_every_parameter(
    engine, loading, tmp_path, name, fault, at
):
    import random

    model = MODELS[name]
    seen = []
    usual = None
    for tensors in (model.tensors, fault(random.Random(3), model.tensors, named(model.tensors, at))[0]):
        folder = tmp_path / "case"
        make(model, tensors, folder)
        truth = real(loading, folder, usual)
        result = dry(folder, read_checkpoint(folder).tensors, session=engine)
        shutil.rmtree(folder)
        usual = truth.lost
        assert judge(truth, result.outcome.verdict, result.facts) == "agree", (truth, result.summary)
        seen.append((truth.verdict == "fail", result.outcome.verdict.value))
    # Where this machine lacks the kernel, a sound real load says "refused" after all parameters were compared.
    assert seen == [(False, "pass"), (True, "fail")]
