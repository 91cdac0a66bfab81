"""CUDA by name in a ported file: replaced where the plugin proves the other side, and nowhere else."""

from __future__ import annotations

import ast
import difflib

import pytest
from port_sources import ENGINE, SETUP, write

from seatrial.adapter.port.ground import Ground
from seatrial.adapter.port.rewrite import rewrite

MODULE = "vllm.model_executor.models.beta"
PLATFORM = """from vllm.platforms import Platform


class NPUPlatform(Platform):
    device_name: str = "npu"
    device_type: str = "{0}"
"""
STREAMS = "import torch\n\ns = torch.npu.Stream()\ne = torch.npu.Event(enable_timing=False)\n"
SOURCE = '''"""A model that knows its device."""

import torch
from torch import nn

from vllm.utils import cdiv


def indices(n, device="cuda"):
    return torch.arange(n,   device=device)   # odd spacing stays


class Beta(nn.Module):
    def __init__(self, stream: torch.cuda.Stream | None = None):
        self.mask = torch.zeros(4, dtype=torch.int32,
                                device="cuda")
        self.place = torch.device("cuda")
        self.stream = stream or torch.cuda.Stream()
        self.major = torch.cuda.get_device_capability()[0]
        self.text = "cuda"

    def forward(self, x):
        if current_platform.is_cuda():
            torch.cuda.Event()
        else:
            torch.cuda.Event()
        return x.to("cuda"), x.cuda(), x.cuda(non_blocking=True), x.to("cuda:1"), x.cuda(0)
'''


@pytest.fixture
def ground(tmp_path):
    def make(platform="ascend", device_type="npu", streams=STREAMS):
        engine = write(
            tmp_path / "vllm",
            {**ENGINE, "vllm/platforms/__init__.py": "current_platform = None\nclass Platform: ...\n"},
        )
        files = {
            "setup.py": SETUP.replace("kunlun", "ascend"),
            "vllm_ascend/__init__.py": "",
            "vllm_ascend/platform.py": PLATFORM.format(device_type),
            "vllm_ascend/streams.py": streams,
            "vllm_ascend/models/__init__.py": "def register_model():\n    pass\n",
        }
        return Ground(engine, write(tmp_path / "plugin", files), platform)

    return make


def changes(made):
    lines = difflib.ndiff(SOURCE.splitlines(), made.source.splitlines())
    return [line for line in lines if line.startswith(("- ", "+ "))]


def test_device_names_become_the_platforms_and_nothing_else_changes(ground):
    made = rewrite(SOURCE, MODULE, False, ground())
    ast.parse(made.source)
    assert [line[2:].strip() for line in changes(made) if line.startswith("+ ")] == [
        "from vllm.platforms import current_platform",
        "def indices(n, device=current_platform.device_type):",
        "def __init__(self, stream: torch.npu.Stream | None = None):",
        "device=current_platform.device_type)",
        "self.place = torch.device(current_platform.device_type)",
        "self.stream = stream or torch.npu.Stream()",
        "torch.npu.Event()",
        "return x.to(current_platform.device_type), x.to(current_platform.device_type), "
        'x.to(current_platform.device_type, non_blocking=True), x.to("cuda:1"), x.cuda(0)',
    ]


def test_each_edit_says_what_proves_it_and_each_place_left_says_why(ground):
    edits = rewrite(SOURCE, MODULE, False, ground()).edits
    proven = {e.old: e.reason for e in edits if e.kind == "device"}
    assert proven["torch.cuda.Stream"] == "as in vllm_ascend/streams.py"
    assert proven["'cuda'"] == "vllm_ascend/platform.py: device_type is 'npu'"
    left = {e.old: e.reason for e in edits if e.kind == "not swapped"}
    assert left == {
        "torch.cuda.get_device_capability": "the plugin uses no torch.npu.get_device_capability itself",
        "'cuda:1'": "it names a device by its number",
        "x.cuda()": "it names a device by its number",
    }
    assert [e.line for e in edits] == sorted(e.line for e in edits)


def test_what_the_plugin_does_not_use_itself_stays_and_is_reported(ground):
    made = rewrite(SOURCE, MODULE, False, ground(streams="x = 1\n"))
    assert "torch.npu" not in made.source
    assert "torch.cuda.Stream" in {e.old for e in made.edits if e.kind == "not swapped"}


def test_a_platform_whose_device_is_called_cuda_keeps_the_word(ground):
    made = rewrite(SOURCE, MODULE, False, ground(device_type="cuda", streams="x = 1\n"))
    assert made.source == SOURCE
    assert "the platform's device is called 'cuda'" in next(e.reason for e in made.edits if e.old == "'cuda'")


def test_a_platform_without_such_a_table_is_left_alone(ground):
    made = rewrite(SOURCE, MODULE, False, ground(platform="kunlun"))
    assert (made.source, made.edits) == (SOURCE, ())


def test_rewriting_again_changes_nothing(ground):
    once = rewrite(SOURCE, MODULE, False, ground())
    twice = rewrite(once.source, MODULE, False, ground())
    assert twice.source == once.source
    assert not [e for e in twice.edits if e.new]


def test_a_name_that_is_taken_is_not_shadowed(ground):
    source = "from mine import current_platform\n\nx = f(device='cuda')\n"
    made = rewrite(source, MODULE, False, ground())
    assert made.source == source
    assert [e.reason for e in made.edits] == ["the file's current_platform is mine.current_platform"]


def test_what_is_assigned_to_stays(ground):
    source = "import torch\n\ntorch.cuda.Event = torch.npu.Event\n"
    assert rewrite(source, MODULE, False, ground()).source == source
