"""Sources and a written plugin for the scaffold's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import scaffold_sources

from seatrial.adapter.scaffold.plugin import plugin_files


@pytest.fixture(scope="session")
def vllm(tmp_path_factory):
    return scaffold_sources.engine(tmp_path_factory.mktemp("vllm"))


@pytest.fixture
def plugin(tmp_path):
    root = tmp_path / "plugin"
    for path, text in plugin_files("vllm-harbour").items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root
