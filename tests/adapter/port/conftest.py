"""The sources of `port_sources`, written out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from port_sources import ENGINE, NEWER, PLUGIN, write


@pytest.fixture
def vllm(tmp_path):
    return write(tmp_path / "vllm-old", ENGINE)


@pytest.fixture
def newer(tmp_path):
    return write(tmp_path / "vllm-new", NEWER)


@pytest.fixture
def plugin(tmp_path):
    return write(tmp_path / "plugin", PLUGIN)
