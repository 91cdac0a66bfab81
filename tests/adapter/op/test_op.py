"""`op new` writes three pieces that fit a schema; `op coverage` says who runs each op, from the sources."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from seatrial.adapter.op.coverage import coverage
from seatrial.adapter.op.new import new_op
from seatrial.adapter.op.signature import read_signature
from seatrial.adapter.scaffold.plugin import plugin_files
from seatrial.cli.op import command
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict

CUSTOM_OP = """
class CustomOp:
    def forward_native(self, x): ...
    def forward_cpu(self, x): ...
    def forward_oot(self, x): ...
"""
LAYERS = """
from vllm.custom_op import CustomOp

class Fast(CustomOp):
    def forward_cpu(self, x): ...
    def forward_native(self, x): ...

class Plain(CustomOp):
    def forward_native(self, x): ...

class Child(Plain): ...

class Bare(CustomOp):
    def forward_cuda(self, x): ...
"""
ENGINE = {
    "vllm/__init__.py": "",
    "vllm/custom_op.py": CUSTOM_OP,
    "vllm/layers.py": LAYERS,
    "vllm/utils/__init__.py": "",
    "vllm/utils/torch_utils.py": "def direct_register_custom_op(op_name, op_func): ...\n",
}
PYPROJECT = """
[project]
name = "npu"
[project.entry-points."vllm.general_plugins"]
npu = "npu:register"
"""
OOT = """
def register():
    from vllm.custom_op import CustomOp
    OPS = {"Plain": NpuPlain}
    for name, cls in OPS.items():
        CustomOp.register_oot(_decorated_op_cls=cls, name=name)

class NpuPlain: ...
"""


def write(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def vllm(tmp_path):
    return write(tmp_path / "vllm", ENGINE)


@pytest.fixture
def plugin(tmp_path):
    return write(tmp_path / "plugin", plugin_files("vllm-harbour"))


def made(plugin, vllm, **more):
    options = {"root": plugin, "engine": vllm, "platform": "cpu", **more}
    return new_op("fused_scale", **options)


def function(text, name):
    return next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef) and n.name == name)


def test_the_three_pieces_have_one_signature(plugin, vllm):
    files = made(plugin, vllm, signature="x: Tensor, scale: float = 2.0, bias: Tensor | None = None -> Tensor").files
    text = files["vllm_harbour/ops/fused_scale.py"]
    shapes = {ast.unparse(function(text, f"fused_scale_{p}").args) for p in ("reference", "impl", "fake")}
    assert shapes == {"x: torch.Tensor, scale: float=2.0, bias: torch.Tensor | None=None"}
    assert "return torch.empty_like(x)" in text
    assert "from vllm.utils.torch_utils import direct_register_custom_op" in text
    assert "vllm_harbour/ops/__init__.py" in files


def test_what_is_not_given_raises_and_is_said(plugin, vllm):
    result = made(plugin, vllm)
    assert [f.code for f in result.findings] == ["F012"]
    assert "raise NotImplementedError" in result.files["vllm_harbour/ops/fused_scale.py"]
    assert made(plugin, vllm, reference="x * 2").findings == ()
    odd = made(plugin, vllm, reference="1", signature="n: int -> int")
    assert ["fake" in f.message for f in odd.findings] == [True]


def test_kunlun_gets_the_types_its_pytorch_infers(plugin, vllm):
    files = made(plugin, vllm, platform="kunlun", signature="x: Tensor, b: Tensor | None, n: list[int] -> None").files
    text = files["vllm_harbour/ops/fused_scale.py"]
    assert "b: Optional[torch.Tensor], n: List[int]" in text
    assert "from typing import List, Optional" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"signature": "x: Tensor"}, "has no `->`"),
        ({"signature": "x -> Tensor"}, "x has no type"),
        ({"signature": "x: dict -> Tensor"}, "a schema has no type dict"),
        ({"signature": "*x: Tensor -> Tensor"}, "plain parameters only"),
        ({"signature": "x: Tensor -> object"}, "returns one of"),
        ({"signature": "x: Tensor): pass\ndef y( -> Tensor"}, "signature"),
        ({"mutates": ("y",)}, "--mutates y is no tensor"),
        ({"reference": "return x"}, "no Python expression"),
        ({"signature": "x: torch.Tensor, x: int -> None"}, "x stands twice"),
        ({"signature": "x: torch.Tensor, n: int = len(y) -> None"}, "no default 'len"),
    ],
)
def test_a_signature_that_is_none_is_refused_with_its_fault(plugin, vllm, more, said):
    with pytest.raises(UsageError, match=said):
        made(plugin, vllm, **more)


@pytest.mark.parametrize("name", ["", "Fused", "a-b", "_x", "1a", "a.b", "class", "x\n"])
def test_a_name_that_is_no_ops_is_refused(plugin, vllm, name):
    with pytest.raises(UsageError, match="no name for an op"):
        new_op(name, root=plugin, engine=vllm, platform="cpu")


@given(st.text(st.sampled_from("x:, Tensorinlds[]|-> =01*()\n"), max_size=60))
def test_no_text_makes_the_signature_reader_fail_otherwise(text):
    try:
        read_signature(text)
    except UsageError:
        return


def test_coverage_tells_platform_engine_native_and_missing(vllm, tmp_path):
    plugin = write(
        tmp_path / "npu",
        {
            "pyproject.toml": PYPROJECT,
            "npu/__init__.py": OOT,
        },
    )
    ops = {"vllm.layers.Fast": 3, "vllm.layers.Plain": 2, "vllm.layers.Child": 1, "vllm.layers.Bare": 1, "npu.Own": 4}
    states = {line.op.split(".")[-1]: line.state for line in coverage(ops, vllm, "ascend", plugin).lines}
    assert states == {"Fast": "native", "Plain": "platform", "Child": "native", "Bare": "missing", "Own": "platform"}
    cpu = coverage(ops, vllm, "cpu")
    assert {x.op.split(".")[-1]: x.state for x in cpu.lines}["Fast"] == "engine"
    assert cpu.outcome.verdict is Verdict.FAIL
    assert coverage({}, vllm, "cpu").outcome.verdict is Verdict.INCONCLUSIVE
    assert coverage({"vllm.layers.Gone": 1}, vllm, "cpu").outcome.verdict is Verdict.INCONCLUSIVE
    assert coverage({"vllm.layers.Fast": 1}, vllm, "cpu").outcome.verdict is Verdict.PASS


def test_the_command_writes_and_undoes(plugin, vllm):
    argv = ["new", "fused_scale", "--into", str(plugin), "--engine", str(vllm), "--reference", "x * 2"]
    assert CliRunner().invoke(command, argv, catch_exceptions=False).exit_code == 0
    assert (plugin / "tests/test_op_fused_scale.py").is_file()
    with pytest.raises(UsageError, match="is there already"):
        CliRunner().invoke(command, argv, catch_exceptions=False, standalone_mode=False)
    CliRunner().invoke(command, ["new", "--undo", "--into", str(plugin)], catch_exceptions=False)
    assert not (plugin / "vllm_harbour/ops").exists()


@pytest.mark.engine
def test_opcheck_passes_on_the_written_op_and_fails_on_a_wrong_fake(plugin, tmp_path):
    from seatrial.engine.choose import target_python
    from seatrial.targets import load_target

    named = os.environ.get("SEATRIAL_ENGINE_PYTHON")
    python = Path(named) if named else target_python(load_target("cpu").target)
    signature = "x: torch.Tensor, scale: float = 2.0, bias: torch.Tensor | None = None -> torch.Tensor"
    reference = "x * scale if bias is None else x * scale + bias"
    write(plugin, made(plugin, python, signature=signature, reference=reference).files)
    wrong = new_op("halved", root=plugin, engine=python, platform="cpu", reference="x[:2].clone()")
    write(plugin, wrong.files)
    script = (
        "import runpy, sys\n"
        "runpy.run_path('tests/test_op_fused_scale.py', run_name='__main__')\n"
        "try:\n    runpy.run_path('tests/test_op_halved.py', run_name='__main__')\n"
        "except Exception as exc:\n    print('refused:', type(exc).__name__)\n"
    )
    done = subprocess.run(
        [str(python), "-c", script],
        cwd=plugin,
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "opcheck and comparison passed" in done.stdout
    assert done.stdout.count("opcheck and comparison passed") == 1
    assert "refused: OpCheckError" in done.stdout


def test_links_that_are_not_followed_are_named_and_a_circle_ends(vllm, tmp_path):
    plugin = write(tmp_path / "npu", {"pyproject.toml": PYPROJECT, "npu/__init__.py": OOT, "npu/ops/__init__.py": ""})
    elsewhere = write(tmp_path / "elsewhere", {"__init__.py": "", "kernel.py": "x = 1\n"})
    (plugin / "npu/kernels").symlink_to(elsewhere)
    (plugin / "npu/ops/round").symlink_to(plugin / "npu")
    (plugin / "npu/ops/again").symlink_to(plugin / "npu")
    told = coverage({"vllm.layers.Plain": 1}, vllm, "ascend", plugin).not_read
    assert told == {
        "npu/kernels": "a symlink out of the source",
        "npu/ops/again": "a symlink to a folder above it",
        "npu/ops/round": "a symlink to a folder above it",
    }


def test_a_link_inside_the_source_is_followed(vllm, tmp_path):
    plugin = write(tmp_path / "npu", {"pyproject.toml": PYPROJECT, "npu/__init__.py": "", "npu/real/__init__.py": OOT})
    (plugin / "npu/linked").symlink_to(plugin / "npu/real")
    assert coverage({"vllm.layers.Fast": 1}, vllm, "cpu", plugin).not_read == {}
