"""A small plugin under git for the linter's tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from linted import DOTTED


@pytest.fixture
def plugin(tmp_path):
    root = tmp_path / "repo"
    package = root / "vllm_kunlun"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "ops.py").write_text(DOTTED)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True)
    return root
